import { afterAll, describe, expect, it } from 'vitest';
import {
  type BarAccess,
  type BarOptions,
  type Bars,
  memory,
  PciDevice,
  u32,
} from '../../src/device/index.ts';
import { FakeHost } from '../helpers/fake-host.ts';

const host = new FakeHost();
afterAll(() => host.close());

/** With a BAR that `bars` makes. */
class OneBar extends PciDevice {
  override readonly identity = { kind: 'one-bar', vendor: 1, device: 2, classCode: 0xff0000 };
  readonly state = this.migratable({ value: u32(), ram: memory(4096) });
  override readonly bars: Bars;
  override readonly interrupts;

  constructor(make: (device: OneBar) => Bars, msix = 0) {
    super();
    this.bars = make(this);
    this.interrupts = msix === 0 ? {} : { msix: { vectors: msix, bar: 0, table: 0 } as const };
  }

  plain(options: BarOptions & { readonly doorbells?: [{ readonly offset: 0; readonly size: 4 }] }) {
    return this.registers(4096, {}, options);
  }

  shared(access: BarAccess) {
    return this.memoryBar(this.state.ram, { mmap: true, access });
  }
}

describe('what a client may do with a BAR', () => {
  it.each<[BarAccess | undefined, boolean, boolean]>([
    [undefined, true, true],
    ['read-write', true, true],
    ['read', true, false],
    ['write', false, true],
  ])('is as declared (%s)', (access, readable, writable) => {
    const served = new OneBar((device) => ({ 0: device.plain(access === undefined ? {} : { access }) })).bind(
      host,
    );
    expect(served.regions[0]).toMatchObject({ readable, writable });
    served.close();
  });

  it.each<[string, (device: OneBar) => Bars, number]>([
    ['mapped and only read', (device) => ({ 0: device.shared('read') }), 0],
    ['mapped and only written', (device) => ({ 0: device.shared('write') }), 0],
    [
      'rung and only read',
      (device) => ({ 0: device.plain({ access: 'read', doorbells: [{ offset: 0, size: 4 }] }) }),
      0,
    ],
    ['only read with the MSI-X table in it', (device) => ({ 0: device.plain({ access: 'read' }) }), 1],
  ])('is refused for one that is %s', (_, make, msix) => {
    expect(() => new OneBar(make, msix).bind(host)).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_DECLARATION' }),
    );
  });
});
