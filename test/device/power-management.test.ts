import { afterEach, describe, expect, it } from 'vitest';
import { field, PciDevice, type ServedDevice, u32, writeOnly } from '../../src/device/index.ts';
import { IrqIndex, RegionIndex } from '../../src/protocol/index.ts';
import { FakeHost, listen, peek, poke } from '../helpers/fake-host.ts';

const PMCSR = 0x44;
const D0 = 0;
const D3HOT = 3;

class Sleeper extends PciDevice {
  readonly identity = { kind: 'sleeper', vendor: 0x494f, device: 1, classCode: 0xff0000 };
  readonly state = this.migratable({ value: u32(), worked: u32() });
  readonly bars = {
    0: this.registers(4096, {
      0: field(this.state, 'value'),
      4: writeOnly(() => this.kick()),
    }),
  };
  readonly interrupts: { intx?: boolean; msi?: number; msix?: number };
  override readonly options = { powerManagement: true };

  constructor(interrupts: { intx?: boolean; msi?: number; msix?: number } = { intx: true }) {
    super();
    this.interrupts = interrupts;
  }

  readonly services = { kick: () => this.kick(), raise: () => this.raise(), dma: () => this.dma };

  protected override work(): void {
    this.state.worked += 1;
  }
}

const closing: { close(): void }[] = [];
afterEach(() => {
  for (const one of closing.splice(0).reverse()) one.close();
});

function serve(device = new Sleeper()) {
  const host = new FakeHost();
  const served = device.bind(host);
  closing.push(host, served);
  const config = served.regions[RegionIndex.CONFIG];
  const setPower = (state: number) => poke(config, PMCSR, state, 2);
  const power = () => Number(peek(config, PMCSR, 2)) & 3;
  return { host, device, served, config, setPower, power };
}

describe('power management', () => {
  it('has D0 and D3hot: another state is discarded', () => {
    const { setPower, power } = serve();
    const seen = [D3HOT, 1, 2, D0, 1, 2, D3HOT].map((state) => {
      setPower(state);
      return power();
    });
    expect(seen).toEqual([3, 3, 3, 0, 0, 0, 3]);
  });

  it('lets nobody answer in D3hot but the configuration space, and keeps everything', () => {
    const { device, served, config, setPower } = serve();
    const [bar] = served.regions;
    poke(bar, 0, 42);
    setPower(D3HOT);
    expect([peek(bar, 0), peek(bar, 2, 2), peek(bar, 0xffc)]).toEqual([0xffff_ffffn, 0xffffn, 0xffff_ffffn]);
    poke(bar, 0, 43);
    poke(bar, 4, 1);
    expect(peek(config, 0)).toBe(0x0001_494fn);
    setPower(D0);
    expect([peek(bar, 0), device.state.worked]).toEqual([42n, 1]);
  });

  it('lets no work and no DMA begin in D3hot, and the work happen in D0', () => {
    const { device, setPower } = serve();
    setPower(D3HOT);
    device.services.kick();
    expect(device.state.worked).toBe(1);
    expect(() => device.services.dma().readSync(0n, new Uint8Array(1))).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_BUS_MASTER' }),
    );
    setPower(D0);
    expect(device.state.worked).toBe(2);
  });

  const enable = {
    intx: () => {},
    msi: (served: ServedDevice) => poke(served.regions[RegionIndex.CONFIG], 0x4a, 1, 2),
    msix: (served: ServedDevice) => poke(served.regions[RegionIndex.CONFIG], 0x4a, 0x8000, 2),
  };

  it.each([
    ['INTx', { intx: true }, IrqIndex.INTX, enable.intx],
    ['MSI', { msi: 1 }, IrqIndex.MSI, enable.msi],
    ['MSI-X', { msix: 1 }, IrqIndex.MSIX, enable.msix],
  ])('keeps %s pending in D3hot', (_, interrupts, index, enableIt) => {
    const { device, served, setPower } = serve(new Sleeper(interrupts));
    enableIt(served);
    const signals = listen(served, index);
    setPower(D3HOT);
    device.services.raise();
    expect(signals()).toBe(0);
    setPower(D0);
    expect(signals()).toBe(1);
  });

  it('comes back in D0 after a reset', () => {
    const { served, setPower, power } = serve();
    setPower(D3HOT);
    served.reset();
    expect(power()).toBe(D0);
  });
});
