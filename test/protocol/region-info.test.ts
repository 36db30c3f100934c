import { describe, expect, it } from 'vitest';
import { deviceGetRegionInfo } from '../../src/protocol/index.ts';
import { at, hex, refused, toHex } from './support.ts';

const { request, reply } = deviceGetRegionInfo;
const le32 = (value: number): string => toHex(new Uint8Array(Uint32Array.of(value).buffer));

/** argsz, flags, index 1, cap_offset, size 0x4000, offset 0x1000. */
const fixed = (argsz: number, flags: number, capOffset: number): string =>
  `${le32(argsz)} ${le32(flags)} 01000000 ${le32(capOffset)} 0040000000000000 0010000000000000`;
const info = {
  argsz: 32,
  flags: 3,
  index: 1,
  capOffset: 0,
  size: 0x4000n,
  offset: 0x1000n,
  capabilities: [],
};

const SPARSE =
  '0100 0100 00000000 02000000 00000000 0000000000000000 0010000000000000 0020000000000000 0010000000000000';
const sparse = {
  kind: 'sparse-mmap',
  areas: [
    { offset: 0n, size: 0x1000n },
    { offset: 0x2000n, size: 0x1000n },
  ],
} as const;

it('asks with argsz and index', () => {
  const bytes = `20000000 00000000 07000000 ${'00'.repeat(20)}`;
  const value = { argsz: 32, flags: 0, index: 7, capOffset: 0, size: 0n, offset: 0n };
  expect(toHex(request.encode(value))).toBe(toHex(hex(bytes)));
  expect(request.decode(hex(bytes))).toEqual(value);
  expect(refused(() => request.check({ ...value, argsz: 31 }))).toEqual(at('EINVAL', 'argsz', 0));
});

it('answers without capabilities in 32 bytes', () => {
  expect(toHex(reply.encode(info))).toBe(toHex(hex(fixed(32, 3, 0))));
  expect(reply.decode(hex(fixed(32, 3, 0)))).toEqual(info);
});

it('answers with a sparse mmap capability at byte 32', () => {
  const value = { ...info, argsz: 80, flags: 15, capOffset: 32, capabilities: [sparse] };
  const bytes = `${fixed(80, 15, 32)} ${SPARSE}`;
  expect(toHex(reply.encode(value))).toBe(toHex(hex(bytes)));
  expect(reply.decode(hex(bytes))).toEqual(value);
  expect(reply.print(value)).toBe(
    'argsz=80 flags=READ|WRITE|MMAP|CAPS index=1 cap_offset=32 size=0x4000 offset=0x1000 ' +
      'capabilities=[sparse mmap {offset=0x0 size=0x1000; offset=0x2000 size=0x1000}]',
  );
});

it('follows a chain of several in any order, with gaps, and keeps the bytes of what it does not know', () => {
  const type = '0200 0100 00000000 86800000 02000000';
  const unknown = '2a00 0300 30000000 deadbeef 00000000';
  // cap_offset 64 is the unknown one, which points back to the type at 48; 32 to 47 belong to nothing.
  const bytes = `${fixed(80, 8, 64)} ${'ff'.repeat(16)} ${type} ${unknown}`;
  expect(reply.decode(hex(bytes)).capabilities).toEqual([
    { kind: 'other', id: 42, version: 3, data: hex('deadbeef 00000000') },
    { kind: 'type', type: 0x8086, subtype: 2 },
  ]);
});

it('takes an understood capability of another version for an unknown one', () => {
  const bytes = `${fixed(48, 8, 32)} 0100 0200 00000000 01020304 05060708`;
  expect(reply.decode(hex(bytes)).capabilities).toEqual([
    { kind: 'other', id: 1, version: 2, data: hex('0102030405060708') },
  ]);
});

it('ignores cap_offset without the flag, and reads a reply that only says how large argsz must be', () => {
  expect(reply.decode(hex(fixed(80, 7, 32))).capabilities).toEqual([]);
  expect(reply.decode(hex(fixed(80, 15, 0)))).toMatchObject({ argsz: 80, capabilities: [] });
});

describe('refuses a chain that', () => {
  const header = (next: number): string => `2a00 0100 ${le32(next)} 0000000000000000`;
  it.each([
    ['begins in the fixed part', `${fixed(48, 8, 16)} ${header(0)}`, 'cap_offset', 16],
    ['begins at the end', `${fixed(48, 8, 48)} ${header(0)}`, 'cap_offset', 48],
    ['begins far outside', `${fixed(48, 8, 0xffff_fff8)} ${header(0)}`, 'cap_offset', 0xffff_fff8],
    ['leaves the payload', `${fixed(48, 8, 32)} ${header(48)}`, 'cap_offset', 48],
    ['goes back into the fixed part', `${fixed(48, 8, 32)} ${header(8)}`, 'cap_offset', 8],
    ['points at itself', `${fixed(48, 8, 32)} ${header(32)}`, 'capabilities', 32],
    ['loops', `${fixed(64, 8, 32)} ${header(48)} ${header(32)}`, 'capabilities', 32],
    ['counts too many areas', `${fixed(48, 8, 32)} 0100 0100 00000000 01000000 00000000`, 'nr_areas', 40],
    ['counts areas without end', `${fixed(48, 8, 32)} 0100 0100 00000000 ffffffff 00000000`, 'nr_areas', 40],
    ['has no room for the count', `${fixed(40, 8, 32)} 0100 0100 00000000`, 'nr_areas', 40],
    ['has no room for the type', `${fixed(40, 8, 32)} 0200 0100 00000000`, 'type', 40],
    [
      'has areas that reach into the next one',
      `${fixed(96, 8, 32)} 0100 0100 38000000 02000000 00000000 ${'00'.repeat(8)} ${header(0)} ${'00'.repeat(24)}`,
      'nr_areas',
      40,
    ],
  ])('%s', (_, bytes, field, byte) => {
    expect(refused(() => reply.decode(hex(bytes)))).toEqual(at('EINVAL', field, byte));
  });

  it('is longer than any real one', () => {
    const chain = Array.from({ length: 65 }, (_, i) => `2a00 0100 ${le32(i === 64 ? 0 : 32 + 8 * (i + 1))}`);
    const decode = () => reply.decode(hex(`${fixed(552, 8, 32)} ${chain.join(' ')}`));
    expect(refused(decode)).toEqual(at('EINVAL', 'capabilities', 32 + 64 * 8));
  });
});

it('refuses areas outside the region, and to send capabilities without the flag', () => {
  const value = {
    ...info,
    flags: 15,
    capabilities: [{ kind: 'sparse-mmap', areas: [{ offset: 0x3000n, size: 0x1001n }] }],
  } as const;
  expect(refused(() => reply.encode(value))).toMatchObject({ errno: 'EINVAL', field: 'capabilities' });
  expect(refused(() => reply.encode({ ...info, flags: 7, capabilities: [sparse] }))).toEqual(
    at('EINVAL', 'flags', 4),
  );
});

it('pads a capability that is no multiple of 8 bytes', () => {
  const other = (data: string) => ({ kind: 'other', id: 9, version: 1, data: hex(data) }) as const;
  const bytes = reply.encode({ ...info, flags: 8, capabilities: [other('aabbcc'), other('')] });
  expect(toHex(bytes.subarray(32))).toBe(
    toHex(hex('0900 0100 30000000 aabbcc0000000000 0900 0100 00000000')),
  );
});
