import { describe, expect, it } from 'vitest';
import { deviceGetRegionIoFds } from '../../src/protocol/index.ts';
import { at, hex, refused, toHex } from './support.ts';

const { request, reply } = deviceGetRegionIoFds;

it('asks with argsz and index, the rest zero', () => {
  const bytes = '10000000 00000000 02000000 00000000';
  const value = { argsz: 16, flags: 0, index: 2, count: 0 };
  expect(toHex(request.encode(value))).toBe(toHex(hex(bytes)));
  expect(request.decode(hex(bytes))).toEqual(value);
});

it.each([
  ['argsz below 16', '0f000000 00000000 02000000 00000000', 'argsz', 0],
  ['flags', '10000000 01000000 02000000 00000000', 'flags', 4],
  ['a count', '10000000 00000000 02000000 01000000', 'count', 12],
])('refuses a request with %s', (_, bytes, field, byte) => {
  expect(refused(() => request.decode(hex(bytes)))).toEqual(at('EINVAL', field, byte));
});

describe('a reply', () => {
  const head = (argsz: string, count: string): string => `${argsz} 00000000 02000000 ${count}`;
  const FIRST_48 =
    '1000000000000000 0400000000000000 00000000 00000000 01000000 ffffffff 0000000000000000 8877665544332211';
  const SECOND_48 =
    '2000000000000000 0200000000000000 01000000 02000000 00000000 02000000 0001000000000000 0000000000000000';
  const FIRST_40 = '1000000000000000 0400000000000000 00000000 00000000 01000000 00000000 8877665544332211';
  const SECOND_40 = '2000000000000000 0200000000000000 01000000 01000000 02000000 00000000 0900000000000000';
  const first = {
    offset: 16n,
    size: 4n,
    fdIndex: 0,
    type: 0,
    flags: 1,
    shadowMemFdIndex: 0xffff_ffff,
    shadowOffset: 0n,
    datamatch: 0x1122_3344_5566_7788n,
  };
  const second = {
    offset: 32n,
    size: 2n,
    fdIndex: 1,
    type: 2,
    flags: 0,
    shadowMemFdIndex: 2,
    shadowOffset: 256n,
    datamatch: 0n,
  };

  it('is sent with sub-regions of 48 bytes', () => {
    const value = { argsz: 112, flags: 0, index: 2, count: 2, subRegions: [first, second] };
    const bytes = `${head('70000000', '02000000')} ${FIRST_48} ${SECOND_48}`;
    expect(toHex(reply.encode(value))).toBe(toHex(hex(bytes)));
    expect(reply.decode(hex(bytes))).toEqual(value);
  });

  it.each([
    ['one', '38000000', '01000000', FIRST_40],
    ['two', '60000000', '02000000', `${FIRST_40} ${SECOND_40}`],
  ])('is accepted with %s of 40 bytes', (_, argsz, count, entries) => {
    const decoded = reply.decode(hex(`${head(argsz, count)} ${entries}`));
    const upgraded = {
      offset: 32n,
      size: 2n,
      fdIndex: 1,
      type: 1,
      flags: 2,
      shadowMemFdIndex: 0xffff_ffff,
      shadowOffset: 0n,
      datamatch: 9n,
    };
    expect(decoded.subRegions).toEqual(count === '01000000' ? [first] : [first, upgraded]);
  });

  it('with none is 16 bytes', () => {
    const value = { argsz: 16, flags: 0, index: 2, count: 0, subRegions: [] };
    expect(toHex(reply.encode(value))).toBe(toHex(hex(head('10000000', '00000000'))));
    expect(reply.decode(hex(head('10000000', '00000000')))).toEqual(value);
  });

  it('may leave them out and say how large argsz must be', () => {
    const value = { argsz: 112, flags: 0, index: 2, count: 2, subRegions: null };
    expect(reply.decode(hex(head('70000000', '02000000')))).toEqual(value);
    expect(toHex(reply.encode(value))).toBe(toHex(hex(head('70000000', '02000000'))));
    expect(refused(() => reply.decode(hex(head('10000000', '02000000'))))).toEqual(at('EINVAL', 'argsz', 0));
  });

  it.each([
    ['a size between the two', `${head('3c000000', '01000000')} ${FIRST_40} 00000000`],
    ['one entry too few', `${head('70000000', '03000000')} ${FIRST_48} ${SECOND_48}`],
    ['a count without end', `${head('70000000', 'ffffffff')} ${FIRST_48}`],
  ])('is refused with %s', (_, bytes) => {
    expect(refused(() => reply.decode(hex(bytes)))).toMatchObject({ errno: 'EINVAL', byte: 16 });
  });
});
