import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadNative } from '../../src/native/index.ts';

const native = loadNative();

describe('crc32', () => {
  it('is that of the check value of the CRC catalogue', () => {
    expect(native.crc32(Buffer.from('123456789'), 0)).toBe(0xcbf43926);
  });

  it('is that of zlib at every length and alignment around its block sizes', () => {
    const bytes = Uint8Array.from({ length: 400 }, (_, i) => (i * 167 + 13) & 0xff);
    for (let offset = 0; offset < 20; offset += 1) {
      for (let end = offset; end <= bytes.length; end += 1) {
        const piece = bytes.subarray(offset, end);
        expect(native.crc32(piece, 0)).toBe(crc32(piece));
      }
    }
  });

  it('is that of zlib for large data, and continues over any cut', () => {
    // Not of none: node:zlib forgets the seed then.
    const data = fc.uint8Array({ minLength: 1, maxLength: 5000 });
    fc.assert(
      fc.property(data, data, fc.nat(0xffffffff), (a, b, seed) => {
        const whole = Buffer.concat([a, b]);
        expect(native.crc32(whole, seed)).toBe(crc32(whole, seed));
        expect(native.crc32(b, native.crc32(a, seed))).toBe(crc32(whole, seed));
      }),
      { numRuns: 300 },
    );
  });

  it('of nothing is the seed', () => {
    expect(native.crc32(new Uint8Array(0), 0x12345678)).toBe(0x12345678);
  });

  it.each([
    ['no array', [1, 0]],
    ['an array of other elements', [new Int32Array(2), 0]],
    ['a negative seed', [new Uint8Array(2), -1]],
    ['a seed of 33 bits', [new Uint8Array(2), 2 ** 32]],
    ['a fraction', [new Uint8Array(2), 0.5]],
  ])('refuses %s', (_, args) => {
    expect(() => Reflect.apply(native.crc32, native, args)).toThrow();
  });
});

describe('crc32Copy', () => {
  const MARK = 0xa5;

  it('copies exactly what it sums, at every length and alignment around its block sizes', () => {
    const source = Uint8Array.from({ length: 300 }, (_, i) => (i * 167 + 13) & 0xff);
    for (let offset = 0; offset < 18; offset += 1) {
      for (let end = offset; end <= source.length; end += 1) {
        const piece = source.subarray(offset, end);
        const target = new Uint8Array(330).fill(MARK);
        const at = (end * 7) % 20;
        expect(native.crc32Copy(target, at, piece, 77)).toBe(native.crc32(piece, 77));
        const expected = new Uint8Array(330).fill(MARK);
        expected.set(piece, at);
        expect(Buffer.compare(target, expected)).toBe(0);
      }
    }
  });

  it.each([
    ['a copy that is longer than its room', [new Uint8Array(4), 0, new Uint8Array(5), 0]],
    ['a place behind the end', [new Uint8Array(4), 5, new Uint8Array(0), 0]],
    ['a copy that ends behind the end', [new Uint8Array(4), 2, new Uint8Array(3), 0]],
    ['a negative place', [new Uint8Array(4), -1, new Uint8Array(1), 0]],
    ['a source that is no bytes', [new Uint8Array(4), 0, [1], 0]],
    ['a seed of 33 bits', [new Uint8Array(4), 0, new Uint8Array(1), 2 ** 32]],
  ])('refuses %s', (_, args) => {
    expect(() => Reflect.apply(native.crc32Copy, native, args)).toThrow();
  });
});
