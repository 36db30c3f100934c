import { expect, it } from 'vitest';
import {
  decodeHeader,
  encodeHeader,
  HEADER_SIZE,
  Header,
  isCommand,
  isReply,
} from '../../src/protocol/index.ts';
import { at, hex, refused, toHex } from './support.ts';

const bytes = '3412 0a00 24000000 10000000 00000000';
const header = { messageId: 0x1234, command: 10, size: 36, flags: 0x10, error: 0 };

it('is 16 bytes: id, command, size, flags, error', () => {
  expect(HEADER_SIZE).toBe(16);
  expect(Header.at).toEqual({ messageId: 0, command: 2, size: 4, flags: 8, error: 12 });
  expect(decodeHeader(hex(bytes))).toEqual(header);
  expect(toHex(encodeHeader(header))).toBe(bytes.replaceAll(' ', ''));
});

it('reads the header of a message in the middle of a buffer', () => {
  expect(decodeHeader(hex(`ffff ${bytes} aa`).subarray(2))).toEqual(header);
});

it('refuses fewer than 16 bytes', () => {
  expect(refused(() => decodeHeader(hex(bytes).subarray(0, 15)))).toEqual(at('EINVAL', 'header', 0));
});

it.each([
  [0x00, true, false, 'COMMAND'],
  [0x10, true, false, 'COMMAND|NO_REPLY'],
  [0x01, false, true, 'REPLY'],
  [0x21, false, true, 'REPLY|ERROR'],
  [0x02, false, false, 'type 2'],
  [0x0f, false, false, 'type 15'],
  [0x8000_0001, false, true, 'REPLY|0x80000000'],
])('takes flags %s apart', (flags, command, reply, printed) => {
  expect([isCommand(flags), isReply(flags)]).toEqual([command, reply]);
  expect(Header.print({ ...header, flags })).toContain(`flags=${printed} `);
});

it('prints the command by name', () => {
  expect(Header.print(header)).toBe(
    'message_id=4660 command=REGION_WRITE size=36 flags=COMMAND|NO_REPLY error=0',
  );
});
