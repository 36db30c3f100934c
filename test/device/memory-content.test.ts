import { describe, expect, it } from 'vitest';
import { sharedAreas } from '../../src/device/memory-content.ts';

const SIZE = 0x10000;

describe('the areas of a memory BAR that a client may map', () => {
  it.each([
    ['none by default', undefined, []],
    ['none', false, []],
    ['all', true, [{ offset: 0, size: SIZE }]],
    [
      'some',
      [
        { offset: 0x1000, size: 0x2000 },
        { offset: 0x3000, size: 0xd000 },
      ],
      [
        { offset: 0x1000, size: 0x2000 },
        { offset: 0x3000, size: 0xd000 },
      ],
    ],
  ])('can be %s', (_, mmap, areas) => {
    expect(sharedAreas(SIZE, mmap)).toEqual(areas);
  });

  it.each([
    ['begins inside a page', [{ offset: 0x800, size: 0x1000 }]],
    ['ends inside a page', [{ offset: 0, size: 0x800 }]],
    ['is empty', [{ offset: 0, size: 0 }]],
    ['has a negative size', [{ offset: 0, size: -0x1000 }]],
    ['is not a number', [{ offset: Number.NaN, size: 0x1000 }]],
    ['lies beyond the end', [{ offset: 0xf000, size: 0x2000 }]],
    [
      'overlaps the one before',
      [
        { offset: 0, size: 0x2000 },
        { offset: 0x1000, size: 0x1000 },
      ],
    ],
  ])('are refused where one %s', (_, mmap) => {
    expect(() => sharedAreas(SIZE, mmap)).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_DECLARATION' }),
    );
  });
});
