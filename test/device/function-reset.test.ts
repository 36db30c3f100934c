import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { draw } from '../../src/device/blueprint.ts';
import { ConfigurationSpace, resetBytes } from '../../src/device/configuration-space.ts';
import { FunctionReset } from '../../src/device/function-reset.ts';
import type { DeviceOptions } from '../../src/device/index.ts';

const IDENTITY = { kind: 'test', vendor: 1, device: 2, classCode: 0 };

function made(options: DeviceOptions) {
  const { config: layout } = draw({ identity: IDENTITY, bars: {}, interrupts: {}, options });
  const config = new ConfigurationSpace(layout, resetBytes(layout), () => {});
  const reset = new FunctionReset(config);
  const initiates = (offset: number, ...bytes: number[]) =>
    reset.initiatedBy(offset, Uint8Array.of(0xee, ...bytes), 1, bytes.length) !== null;
  const write = (offset: number, ...bytes: number[]) =>
    config.write(offset, Uint8Array.from(bytes), 0, bytes.length);
  return { config, initiates, write };
}

describe('Initiate FLR', () => {
  it.each<[string, number, number[], boolean]>([
    ['the word', 0x48, [0, 0x80], true],
    ['the upper byte', 0x49, [0x80], true],
    ['a wider access', 0x44, [0, 0, 0, 0, 0x10, 0xa8, 0, 0], true],
    ['an access that begins in the middle', 0x49, [0xff, 0, 0], true],
    ['the word without the bit', 0x48, [0xff, 0x7f], false],
    ['the lower byte', 0x48, [0x80], false],
    ['what is before it', 0x47, [0x80, 0x80], false],
    ['what is behind it', 0x4a, [0x80, 0x80], false],
    ['nothing', 0x49, [], false],
  ])('is seen in a write of %s', (_, offset, bytes, expected) => {
    expect(made({ express: true }).initiates(offset, ...bytes)).toBe(expected);
  });

  it('reads 0 always', () => {
    const { config, write } = made({ express: true });
    write(0x48, 0xff, 0xff);
    expect(config.get(config.register('EXPRESS.DEVICE_CONTROL')) & 0x8000).toBe(0);
  });

  it('is nothing to a function that says so, and to one without PCI Express', () => {
    const without = made({ express: { functionLevelReset: false } });
    const { config } = without;
    expect(config.get(config.register('EXPRESS.DEVICE_CAPABILITIES')) & 0x1000_0000).toBe(0);
    expect(without.initiates(0x49, 0x80)).toBe(false);
    expect(made({ powerManagement: true }).initiates(0x49, 0x80)).toBe(false);
  });
});

describe('D3hot to D0', () => {
  const soft = { powerManagement: { noSoftReset: false } };

  it('resets a function without No_Soft_Reset, and says so', () => {
    const { config, initiates, write } = made(soft);
    expect(config.get(config.register('PM.CONTROL'))).toBe(0);
    expect([initiates(0x44, 0), initiates(0x44, 3)]).toEqual([false, false]);
    write(0x44, 3);
    expect([initiates(0x44, 0), initiates(0x40, 0, 0, 0, 0, 0, 0)]).toEqual([true, true]);
    expect([initiates(0x44, 3), initiates(0x44, 1), initiates(0x45, 0), initiates(0x43, 0)]).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });

  it('resets nothing with it', () => {
    const { config, initiates, write } = made({ powerManagement: true });
    expect(config.get(config.register('PM.CONTROL'))).toBe(8);
    write(0x44, 3);
    expect(initiates(0x44, 0)).toBe(false);
  });
});

it('is the same for any access as for its bytes one by one', () => {
  const { initiates, write } = made({ express: true, powerManagement: { noSoftReset: false } });
  write(0x44, 3);
  const accesses = fc.tuple(
    fc.integer({ min: 0x38, max: 0x60 }),
    fc.array(fc.constantFrom(0, 3, 0x80, 0xff), { maxLength: 32 }),
  );
  fc.assert(
    fc.property(accesses, ([offset, bytes]) => {
      expect(initiates(offset, ...bytes)).toBe(bytes.some((byte, i) => initiates(offset + i, byte)));
    }),
  );
});
