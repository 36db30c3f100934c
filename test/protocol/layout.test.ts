import { describe, expect, it } from 'vitest';
import { flags } from '../../src/protocol/flags.ts';
import { i32, padding, struct, u8, u16, u32, u64 } from '../../src/protocol/index.ts';
import { hex, refusal, toHex } from './support.ts';

const bits = flags({ ON: 1 }, { ON: 'on' });
const Sample = struct('sample', {
  one: u8('one byte'),
  twoBytes: u16('two bytes', { format: 'hex' }),
  gap: padding(1),
  four: u32('four bytes', { format: bits }),
  signed: i32('signed', { format: (value) => `<${value}>` }),
  eight: u64('eight bytes'),
});
const value = { one: 0x11, twoBytes: 0x3322, four: 0x5, signed: -2, eight: 0x0807_0605_0403_0201n };
const bytes = hex('11 2233 00 05000000 feffffff 0102030405060708');

const view = (of: Uint8Array) => new DataView(of.buffer, of.byteOffset, of.byteLength);

it('derives size, offsets and wire names from the order of the fields', () => {
  expect(Sample.size).toBe(20);
  expect(Sample.at).toEqual({ one: 0, twoBytes: 1, gap: 3, four: 4, signed: 8, eight: 12 });
  expect(Sample.fields.map(({ wireName }) => wireName)).toEqual([
    'one',
    'two_bytes',
    'gap',
    'four',
    'signed',
    'eight',
  ]);
});

it('reads and writes at any offset, padding as zero', () => {
  const target = new Uint8Array(24).fill(0xff);
  Sample.write(view(target), 2, value);
  expect(toHex(target)).toBe(`ffff${toHex(bytes)}ffff`);
  expect(Sample.read(view(target), 2)).toEqual(value);
});

it('prints every field but the padding with its own format', () => {
  expect(Sample.print(value)).toBe(
    'one=17 two_bytes=0x3322 four=ON|0x4 signed=<-2> eight=578437695752307201',
  );
});

describe('refuses to write what does not fit', () => {
  it.each([
    ['one', { ...value, one: 256 }],
    ['one', { ...value, one: -1 }],
    ['one', { ...value, one: 1.5 }],
    ['two_bytes', { ...value, twoBytes: 0x1_0000 }],
    ['four', { ...value, four: Number.NaN }],
    ['signed', { ...value, signed: 0x8000_0000 }],
    ['eight', { ...value, eight: 1n << 64n }],
    ['eight', { ...value, eight: -1n }],
  ])('%s', (field, wrong) => {
    const error = refusal(() => Sample.write(view(new Uint8Array(20)), 0, wrong));
    expect(error.context).toMatchObject({ struct: 'sample', field });
  });
});
