import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { constant, field, type RegisterMap, readOnly, register, writeOnly } from '../../src/device/index.ts';
import { RegisterBank } from '../../src/device/register-bank.ts';

const SIZE = 64;

function readBytes(bank: RegisterBank, offset: number, length: number): number[] {
  const target = new Uint8Array(length + 2).fill(0xee);
  bank.read(offset, target, 1, length);
  expect([target[0], target.at(-1)], 'only what was asked for').toEqual([0xee, 0xee]);
  return [...target.subarray(1, -1)];
}

function writeBytes(bank: RegisterBank, offset: number, ...bytes: number[]): void {
  bank.write(offset, Uint8Array.of(0xee, ...bytes), 1, bytes.length);
}

describe('RegisterBank', () => {
  it.each([
    ['1 byte', { 4: constant(0x181, 1) }, 4, [0x81]],
    ['2 bytes', { 4: constant(0xcafe, 2) }, 4, [0xfe, 0xca]],
    ['4 bytes', { 4: constant(0xdeadbeef) }, 4, [0xef, 0xbe, 0xad, 0xde]],
    ['4 bytes of a negative number', { 4: constant(-2) }, 4, [0xfe, 0xff, 0xff, 0xff]],
    ['8 bytes', { 8: readOnly(() => 0x0102030405060708n, 8) }, 8, [8, 7, 6, 5, 4, 3, 2, 1]],
    [
      '8 bytes of a negative bigint',
      { 8: readOnly(() => -1n, 8) },
      8,
      [255, 255, 255, 255, 255, 255, 255, 255],
    ],
    ['a write-only register', { 4: writeOnly(() => {}) }, 4, [0, 0, 0, 0]],
    ['nothing', {}, 4, [0, 0, 0, 0]],
  ] satisfies [string, RegisterMap, number, number[]][])('reads %s', (_, map, offset, bytes) => {
    expect(readBytes(new RegisterBank(SIZE, map), offset, bytes.length)).toEqual(bytes);
  });

  it('hands writes over as unsigned numbers of the width, and as bigints of 8 bytes', () => {
    const written: (number | bigint)[] = [];
    const note = (value: number | bigint): void => void written.push(value);
    const bank = new RegisterBank(SIZE, {
      0: writeOnly(note, 1),
      2: writeOnly(note, 2),
      4: writeOnly(note),
      8: register({ width: 8, write: note }),
      16: readOnly(() => 1),
    });
    writeBytes(bank, 0, 0xff);
    writeBytes(bank, 2, 0xfe, 0xff);
    writeBytes(bank, 4, 0xff, 0xff, 0xff, 0xff);
    writeBytes(bank, 8, 1, 0, 0, 0, 0, 0, 0, 0xff);
    writeBytes(bank, 16, 1, 2, 3, 4);
    writeBytes(bank, 32, 1, 2, 3, 4);
    expect(written).toEqual([0xff, 0xfffe, 0xffffffff, 0xff00000000000001n]);
  });

  it('splits a wide access over its registers, in ascending order, each once', () => {
    const calls: string[] = [];
    const at = (offset: number) =>
      register({
        read: () => {
          calls.push(`read ${offset}`);
          return offset;
        },
        write: (value) => void calls.push(`write ${offset} ${value}`),
      });
    const bank = new RegisterBank(SIZE, { 0: at(0), 4: at(4) });
    expect(readBytes(bank, 0, 8)).toEqual([0, 0, 0, 0, 4, 0, 0, 0]);
    writeBytes(bank, 0, 1, 0, 0, 0, 2, 0, 0, 0);
    expect(calls).toEqual(['read 0', 'read 4', 'write 0 1', 'write 4 2']);
  });

  it('refuses parts and unions of an exact register with EINVAL, before anything happens', () => {
    const write = vi.fn();
    const bank = new RegisterBank(SIZE, { 0: writeOnly(write), 4: register({ write, exact: true }) });
    const refusal = expect.objectContaining({ code: 'ERR_DEVICE_ACCESS', errno: 22 });
    expect(() => readBytes(bank, 4, 2)).toThrow(refusal);
    expect(() => writeBytes(bank, 5, 1)).toThrow(refusal);
    expect(() => writeBytes(bank, 0, 1, 2, 3, 4, 5, 6, 7, 8)).toThrow(refusal);
    expect(write).not.toHaveBeenCalled();
    writeBytes(bank, 4, 1, 0, 0, 0);
    expect(write).toHaveBeenCalledExactlyOnceWith(1);
  });

  it('equals plain bytes for plain registers at any width and alignment', () => {
    const access = fc.record({
      offset: fc.integer({ min: 0, max: SIZE - 1 }),
      data: fc.uint8Array({ minLength: 1, maxLength: 16 }),
    });
    fc.assert(
      fc.property(fc.array(access, { maxLength: 30 }), (accesses) => {
        const state = { a: 0, b: 0, c: 0, d: 0, wide: 0n };
        const bank = new RegisterBank(SIZE, {
          4: field(state, 'a'),
          8: field(state, 'b', 2),
          10: field(state, 'c', 1),
          16: register({
            width: 8,
            read: () => state.wide,
            write: (value) => {
              state.wide = value;
            },
          }),
          24: field(state, 'd'),
        });
        const backed = (at: number) => (at >= 4 && at < 11) || (at >= 16 && at < 28);
        const model = new Array<number>(SIZE).fill(0);
        for (const { offset, data } of accesses) {
          const length = Math.min(data.length, SIZE - offset);
          bank.write(offset, data, 0, length);
          for (let i = 0; i < length; i++) if (backed(offset + i)) model[offset + i] = data[i] ?? 0;
          expect(readBytes(bank, offset, length)).toEqual(model.slice(offset, offset + length));
        }
        expect(readBytes(bank, 0, SIZE)).toEqual(model);
      }),
    );
  });

  it.each([
    ['registers that overlap', { 0: register({ width: 8 }), 4: register({}) }, 'overlaps'],
    ['a register beyond the end', { 64: register({}) }, 'outside'],
    ['a register across the end', { 60: register({ width: 8 }) }, 'outside'],
    ['a register at a negative offset', { [-4]: register({}) }, 'outside'],
    ['a register that is not aligned', { 2: register({}) }, 'aligned'],
  ])('refuses %s', (_, map, message) => {
    expect(() => new RegisterBank(SIZE, map)).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_DECLARATION', message: expect.stringContaining(message) }),
    );
  });

  it('does not compile an async callback, and refuses its promise', () => {
    // @ts-expect-error A register callback is synchronous by type.
    const sneaky = register({ write: async () => {} });
    // @ts-expect-error A read yields a number at once.
    const slow = register({ read: async () => 1 });
    const bank = new RegisterBank(SIZE, { 0: sneaky, 4: slow });
    const refusal = expect.objectContaining({ code: 'ERR_DEVICE_ASYNCHRONOUS' });
    expect(() => writeBytes(bank, 0, 1, 2, 3, 4)).toThrow(refusal);
    expect(() => readBytes(bank, 4, 4)).toThrow(refusal);
  });
});
