import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import {
  type ConfigLayout,
  type ConfigRegister,
  ConfigurationSpace,
  resetBytes,
} from '../../src/device/configuration-space.ts';
import { DeviceError } from '../../src/device/index.ts';
import { msiCapability } from '../../src/device/interrupt-capabilities.ts';

/** A register of each kind: plain, partly writable, write 1 to clear, 3 bytes, and neighbours. */
const REGISTERS: readonly ConfigRegister[] = [
  { name: 'ID', offset: 0, size: 2, reset: 0x1234 },
  { name: 'COMMAND', offset: 4, size: 2, writable: 0x0547 },
  { name: 'STATUS', offset: 6, size: 2, reset: 0xf910, clearable: 0xf900, volatile: 8 },
  { name: 'CLASS', offset: 9, size: 3, reset: 0xabcdef },
  { name: 'BAR', offset: 16, size: 4, reset: 8, writable: 0xffff0000 },
  { name: 'LINE', offset: 0x3c, size: 1, writable: 0xff, reset: 0x5a },
  {
    name: 'CHOICE',
    offset: 0x40,
    size: 4,
    writable: 0xf000000f,
    choices: { mask: 0xf0000000, values: [0, 0x90000000] },
  },
];
const LAYOUT: ConfigLayout = { size: 256, registers: REGISTERS, windows: [] };

function make(layout: ConfigLayout = LAYOUT, changed = () => {}): ConfigurationSpace {
  return new ConfigurationSpace(layout, resetBytes(layout), changed);
}

/** The specification, a byte at a time; of CHOICE the upper four bits are 0 or 9, whatever else is asked for. */
function modelWrite(bytes: number[], offset: number, data: Uint8Array): void {
  const chosen = (bytes[0x43] ?? 0) & 0xf0;
  modelMasks(bytes, offset, data);
  const now = (bytes[0x43] ?? 0) & 0xf0;
  if (now !== 0 && now !== 0x90) bytes[0x43] = ((bytes[0x43] ?? 0) & 0x0f) | chosen;
}

function modelMasks(bytes: number[], offset: number, data: Uint8Array): void {
  for (const [i, value] of data.entries()) {
    const at = offset + i;
    const old = bytes[at] ?? 0;
    const register = REGISTERS.find(
      (candidate) => at >= candidate.offset && at < candidate.offset + candidate.size,
    );
    const mask = (bits: number | undefined) => ((bits ?? 0) >>> (8 * (at - (register?.offset ?? 0)))) & 0xff;
    for (let bit = 1; bit < 256; bit <<= 1) {
      if (mask(register?.writable) & bit) bytes[at] = ((bytes[at] ?? 0) & ~bit) | (value & bit);
      else if (mask(register?.clearable) & value & bit) bytes[at] = (bytes[at] ?? 0) & ~bit;
    }
    if (register === undefined) expect(bytes[at]).toBe(old);
  }
}

const access = fc.integer({ min: 0, max: 255 }).chain((offset) =>
  fc.record({
    offset: fc.constant(offset),
    data: fc.uint8Array({ minLength: 1, maxLength: Math.min(20, 256 - offset) }),
  }),
);

describe('ConfigurationSpace', () => {
  it('equals a model with byte-wise masks after any sequence of accesses of any size and alignment', () => {
    fc.assert(
      fc.property(fc.array(access, { maxLength: 30 }), (accesses) => {
        const config = make();
        const model = [...resetBytes(LAYOUT)];
        for (const { offset, data } of accesses) {
          config.write(offset, data, 0, data.length);
          modelWrite(model, offset, data);
          const read = new Uint8Array(data.length + 2);
          config.read(offset, read, 1, data.length);
          expect([...read.subarray(1, -1)]).toEqual(model.slice(offset, offset + data.length));
          expect([read[0], read.at(-1)]).toEqual([0, 0]);
        }
        expect([...config.bytes]).toEqual(model);
      }),
    );
  });

  it('tells its owner of each write', () => {
    const changed = vi.fn();
    const config = make(LAYOUT, changed);
    config.write(4, Uint8Array.of(6), 0, 1);
    config.read(4, new Uint8Array(1), 0, 1);
    expect(changed).toHaveBeenCalledTimes(1);
  });

  it.each(REGISTERS)('sets $name as the device does, regardless of the masks', (register) => {
    const config = make();
    const all = 2 ** (8 * register.size) - 1;
    config.set(register, all);
    expect(config.get(register) >>> 0).toBe(all);
    config.set(register, 0);
    expect(config.get(register)).toBe(0);
    expect(config.register(register.name)).toBe(register);
  });

  it('asks for a live register when an access touches it, and only then', () => {
    const config = make();
    const value = vi.fn(() => 0xa5);
    config.provide('LINE', value);
    config.read(0x38, new Uint8Array(4), 0, 4);
    expect(value).not.toHaveBeenCalled();
    const bytes = new Uint8Array(4);
    config.read(0x3a, bytes, 0, 4);
    expect([...bytes]).toEqual([0, 0, 0xa5, 0]);
  });

  it('refuses a name that the layout lacks', () => {
    expect(() => make().register('NONE')).toThrow(DeviceError);
  });

  describe('as a state to load', () => {
    it('takes any value of what software or the device changes', () => {
      const config = make();
      const bytes = resetBytes(LAYOUT);
      bytes[4] = 0x47;
      bytes[6] = 0x18;
      bytes[7] = 0;
      bytes[18] = 0xff;
      bytes[0x43] = 0x90;
      expect(() => config.checkLoadable(bytes)).not.toThrow();
    });

    it.each([
      ['an identity', 0, 0x35, 'ID'],
      ['a read-only bit of a register', 16, 0x0c, 'BAR'],
      ['a reserved byte', 0x80, 1, 'a reserved byte'],
      ['a choice', 0x43, 0x80, 'CHOICE'],
    ])('refuses %s that differs', (_, offset, value, name) => {
      const bytes = resetBytes(LAYOUT);
      bytes[offset] = value;
      expect(() => make().checkLoadable(bytes)).toThrow(
        expect.objectContaining({
          code: 'ERR_DEVICE_MIGRATION',
          errno: 22,
          message: expect.stringContaining(name),
        }),
      );
    });
  });
});

describe('the MSI capability', () => {
  it.each([
    [{ vectors: 1, address64: false }, 0x0000, 10],
    [{ vectors: 1 }, 0x0080, 14],
    [{ vectors: 8, address64: false, maskable: true }, 0x0106, 20],
    [{ vectors: 32, maskable: true }, 0x018a, 24],
  ])('describes %j', (declaration, control, size) => {
    const { size: bytes, registers = [] } = msiCapability(declaration);
    expect(registers.find(({ name }) => name === 'CONTROL')?.reset).toBe(control);
    expect(bytes).toBe(size);
    const last = registers.reduce((end, register) => Math.max(end, register.offset + register.size), 0);
    expect(last).toBe(size);
  });
});
