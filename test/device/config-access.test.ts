import { afterEach, describe, expect, it } from 'vitest';
import { IrqIndex, RegionIndex } from '../../src/protocol/index.ts';
import { FakeHost, listen, peek, poke } from '../helpers/fake-host.ts';
import { Full, PLACE } from './full-configuration.ts';

/** Lets a test use what an author has. */
class Open extends Full {
  get registersByName() {
    return this.configuration;
  }
  raiseIt(): void {
    this.raise();
  }
}

const closing: { close(): void }[] = [];
afterEach(() => {
  for (const one of closing.splice(0).reverse()) one.close();
});

function serve() {
  const host = new FakeHost();
  const device = new Open();
  const served = device.bind(host);
  closing.push(host, served);
  return { device, served, config: served.regions[RegionIndex.CONFIG] };
}

describe('the registers of a configuration space by name', () => {
  it('read what the guest has written, and say where they are', () => {
    const { device, config } = serve();
    const { registersByName: registers } = device;
    poke(config, PLACE.vendor + 5, 0x77, 1);
    poke(config, 0x10, 0xfebc_0000);
    expect([registers.get('VENDOR.BYTE_2'), registers.get('BAR0'), registers.get('CLASS_CODE')]).toEqual([
      0x77, 0xfebc_0000, 0x010802,
    ]);
    expect([registers.offsetOf('STATUS'), registers.offsetOf('ERRORS.STATUS')]).toEqual([6, 0x110]);
  });

  it('set what the guest clears by writing 1, bit by bit', () => {
    const { device, config } = serve();
    device.registersByName.set('STATUS', 0xf910);
    expect(peek(config, 6, 2)).toBe(0xf910n);
    poke(config, 6, 0x4000, 2);
    expect(peek(config, 6, 2)).toBe(0xb910n);
    poke(config, 7, 0xff, 1);
    expect(peek(config, 6, 2)).toBe(0x0010n);
  });

  it('read what is pending now', () => {
    const { device, config } = serve();
    poke(config, PLACE.msi + 2, 1, 2);
    device.raiseIt();
    expect(device.registersByName.get('MSI.PENDING')).toBe(1);
  });

  it('take effect at once', () => {
    const { device, served, config } = serve();
    const signals = listen(served, IrqIndex.INTX);
    poke(config, 4, 0x400, 2);
    device.raiseIt();
    expect(signals()).toBe(0);
    device.registersByName.set('COMMAND', 0);
    expect(signals()).toBe(1);
  });

  it.each([
    ['VENDOR_ID', 1],
    ['STATUS', 0xf930],
    ['ERRORS.MASK', 2],
    ['COMMAND', 0x10000],
    ['PM.CONTROL', 9],
    ['COMMAND', -1],
    ['COMMAND', 0.5],
    ['ERRORS.MASK', 2 ** 32],
  ])('keep what the device is: %s does not become %d', (name, value) => {
    const { device, config } = serve();
    const before = config === undefined ? 0n : peek(config, 0, 8);
    expect(() => device.registersByName.set(name, value)).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_ACCESS', errno: 22 }),
    );
    expect(peek(config, 0, 8)).toBe(before);
  });

  it('are refused by a name that is not there', () => {
    const { registersByName: registers } = serve().device;
    for (const use of [registers.get, registers.offsetOf] as const) {
      expect(() => use.call(registers, 'NONE')).toThrow(/no register NONE/);
    }
    expect(() => registers.set('NONE', 0)).toThrow(/no register NONE/);
  });
});
