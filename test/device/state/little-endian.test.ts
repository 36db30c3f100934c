import { describe, expect, it } from 'vitest';
import { copyLittleEndian } from '../../../src/device/state/little-endian.ts';

const SOURCE = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);

describe('copyLittleEndian', () => {
  it.each([
    [1, [1, 2, 3, 4, 5, 6, 7, 8]],
    [2, [2, 1, 4, 3, 6, 5, 8, 7]],
    [4, [4, 3, 2, 1, 8, 7, 6, 5]],
    [8, [8, 7, 6, 5, 4, 3, 2, 1]],
  ])('turns elements of %d bytes round on a big-endian host', (size, expected) => {
    const target = new Uint8Array(8);
    copyLittleEndian(SOURCE, target, size, false);
    expect([...target]).toEqual(expected);
  });

  it('leaves them as they are on a little-endian host', () => {
    const target = new Uint8Array(8);
    copyLittleEndian(SOURCE, target, 4, true);
    expect(target).toEqual(SOURCE);
  });
});
