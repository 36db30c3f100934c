import { endianness } from 'node:os';
import { expect, it } from 'vitest';
import { littleEndian, readU64AsNumber, writeU64FromNumber } from '../../src/protocol/index.ts';

it("knows the host's byte order", () => {
  expect(littleEndian).toBe(endianness() === 'LE');
});

it.each([
  [0n, 0],
  [1n, 1],
  [0xffff_ffffn, 0xffff_ffff],
  [0x1_0000_0000n, 0x1_0000_0000],
  [0x1234_5678_9abcn, 0x1234_5678_9abc],
  [(1n << 53n) - 1n, Number.MAX_SAFE_INTEGER],
  [1n << 53n, -1],
  [(1n << 53n) + 1n, -1],
  [1n << 63n, -1],
  [(1n << 64n) - 1n, -1],
])('reads the u64 %s as %s', (value, expected) => {
  const view = new DataView(new ArrayBuffer(16));
  view.setBigUint64(3, value, littleEndian);
  expect(readU64AsNumber(view, 3)).toBe(expected);
});

it.each([0, 1, 0xffff_ffff, 0x1_0000_0000, 0x12_3456_7890, Number.MAX_SAFE_INTEGER])(
  'writes %s as a u64',
  (value) => {
    const view = new DataView(new ArrayBuffer(16));
    writeU64FromNumber(view, 5, value);
    expect(view.getBigUint64(5, littleEndian)).toBe(BigInt(value));
  },
);
