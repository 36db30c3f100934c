import '../../setup/properties.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  counted,
  formatBytes,
  formatMs,
  grouped,
  parseBytes,
  shortBytes,
  wholeNumber,
} from '../../../src/cli/options/quantities.ts';

describe('sizes', () => {
  it.each([
    ['4096', 4096],
    ['64K', 65536],
    ['64k', 65536],
    ['64KiB', 65536],
    ['64KB', 65536],
    ['1.5G', 1.5 * 1024 ** 3],
    [' 2 M ', 2 * 1024 ** 2],
    ['1T', 1024 ** 4],
  ])('%j are %d bytes', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes);
  });

  it.each(['', '0', '-1', 'K', '1X', '1.5', '0x10', '1e9', 'NaN', '99999999T', '64M64M'])(
    '%j are none',
    (text) => {
      expect(() => parseBytes(text)).toThrow(/Write a size/);
    },
  );

  it('are short where they are round, and read back', () => {
    expect([256, 4096, 65536, 64 * 1024 ** 2, 5000].map(shortBytes)).toEqual([
      '256',
      '4K',
      '64K',
      '64M',
      '5000',
    ]);
    fc.assert(fc.property(fc.integer({ min: 1 }), (bytes) => parseBytes(shortBytes(bytes)) === bytes));
  });

  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [64 * 1024 ** 2, '64.0 MiB'],
    [3 * 1024 ** 3, '3.0 GiB'],
    [5000 * 1024 ** 4, '5000.0 TiB'],
  ])('%d bytes are %s for people', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});

describe('other quantities', () => {
  it.each([
    [0, '0.00 ms'],
    [0.4242, '0.42 ms'],
    [12.34, '12.3 ms'],
    [4560, '4.56 s'],
  ])('%d ms are %s', (ms, text) => {
    expect(formatMs(ms)).toBe(text);
  });

  it('are counted and grouped', () => {
    expect([counted(1, 'round'), counted(2, 'round'), counted(1234, 'write')]).toEqual([
      '1 round',
      '2 rounds',
      '1,234 writes',
    ]);
    expect(grouped(67108864)).toBe('67,108,864');
  });

  it('are whole numbers in a range', () => {
    const parse = wholeNumber(1, 10);
    expect(parse('10')).toBe(10);
    for (const text of ['0', '11', '1.5', '-1', '', 'ten', '1e1'])
      expect(() => parse(text)).toThrow(/from 1 to 10/);
    expect(() => wholeNumber(0)('x')).toThrow('Write a whole number from 0.');
  });
});
