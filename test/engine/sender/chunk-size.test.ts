import { expect, it } from 'vitest';
import { chunkSize } from '../../../src/engine/sender/chunk-size.ts';

const MIB = 1024 ** 2;

it.each([
  [MIB, null, MIB],
  [64 * MIB, null, MIB],
  [MIB, 1024 * MIB, MIB],
  [MIB, 4 * MIB, Math.floor((4 * MIB) / 20)],
  [MIB, 1000, 4096],
  [64, 1000, 64],
])('wanted %d with %s bytes per second: %d at a time', (wanted, rate, size) => {
  expect(chunkSize(wanted, rate)).toBe(size);
});
