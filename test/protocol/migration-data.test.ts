import { expect, it } from 'vitest';
import { migDataRead, migDataWrite } from '../../src/protocol/index.ts';
import { at, hex, refused, toHex } from './support.ts';

it('MIG_DATA_READ asks with argsz and size', () => {
  expect(toHex(migDataRead.request.encode({ argsz: 12, size: 4 }))).toBe(toHex(hex('0c000000 04000000')));
  expect(migDataRead.request.decode(hex('0c000000 04000000 ffff'))).toEqual({ argsz: 12, size: 4 });
  expect(refused(() => migDataRead.request.decode(hex('0b000000 04000000')))).toEqual(
    at('EINVAL', 'argsz', 0),
  );
  expect(refused(() => migDataRead.request.decode(hex('ffffffff ffffffff')))).toEqual(
    at('EINVAL', 'argsz', 0),
  );
});

it('a MIG_DATA_READ reply is as long as size says, whatever padding follows', () => {
  const reply = { argsz: 10, size: 2, data: hex('aabb') };
  expect(toHex(migDataRead.reply.encode({ argsz: 10, data: hex('aabb') }))).toBe(
    toHex(hex('0a000000 02000000 aabb')),
  );
  expect(migDataRead.reply.decode(hex('0a000000 02000000 aabb'))).toEqual(reply);
  expect(migDataRead.reply.decode(hex('0a000000 02000000 aabb 0000000000'))).toEqual(reply);
  expect(refused(() => migDataRead.reply.decode(hex('0a000000 03000000 aabb')))).toEqual(
    at('EINVAL', 'data', 8),
  );
});

it('MIG_DATA_WRITE sends argsz, size, data; its reply is empty', () => {
  const bytes = hex('0a000000 02000000 aabb');
  expect(toHex(migDataWrite.request.encode({ argsz: 10, data: hex('aabb') }))).toBe(toHex(bytes));
  expect(migDataWrite.request.decode(bytes)).toEqual({ argsz: 10, size: 2, data: hex('aabb') });
  expect(migDataWrite.reply.encode({})).toHaveLength(0);
});

it.each([
  ['argsz below 8', '07000000 02000000 aabb', 'argsz', 0],
  ['less data than size', '0a000000 03000000 aabb', 'data', 8],
  ['more data than size', '0a000000 01000000 aabb', 'payload', 9],
])('MIG_DATA_WRITE refuses %s', (_, bytes, field, byte) => {
  expect(refused(() => migDataWrite.request.decode(hex(bytes)))).toEqual(at('EINVAL', field, byte));
});
