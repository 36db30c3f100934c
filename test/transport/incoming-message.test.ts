import { describe, expect, it } from 'vitest';
import { IncomingMessage } from '../../src/transport/index.ts';
import { rawMessage } from '../helpers/raw-client.ts';

function point(bytes: Buffer, fds: number[] = []): IncomingMessage {
  const message = new IncomingMessage();
  message.point(bytes, new DataView(bytes.buffer, bytes.byteOffset), 0, bytes.length, fds);
  return message;
}

describe('IncomingMessage', () => {
  it('reads the header and shows the payload in place', () => {
    const bytes = rawMessage(0xabcd, 17, Buffer.from('payload'), 0x31, 22);
    const message = point(bytes);
    expect(message).toMatchObject({ id: 0xabcd, command: 17, flags: 0x31, error: 22, length: 7 });
    bytes.write('P', 16);
    expect(Buffer.from(message.payload()).toString()).toBe('Payload');
  });

  it.each([
    [0x00, { isCommand: true, isReply: false, noReply: false, failed: false }],
    [0x01, { isCommand: false, isReply: true, noReply: false, failed: false }],
    [0x10, { isCommand: true, isReply: false, noReply: true, failed: false }],
    [0x21, { isCommand: false, isReply: true, noReply: false, failed: true }],
    [0x02, { isCommand: false, isReply: false, noReply: false, failed: false }],
    [0xffff_ffc0, { isCommand: true, isReply: false, noReply: false, failed: false }],
  ])('understands the flags 0x%s', (flags, expected) => {
    expect(point(rawMessage(1, 9, Buffer.alloc(0), flags))).toMatchObject(expected);
  });

  it('gives its fds away once', () => {
    const message = point(rawMessage(1, 2, Buffer.alloc(0)), [4, 5]);
    expect(message.takeFds()).toEqual([4, 5]);
    expect(message.takeFds()).toEqual([]);
    expect(message.fds).toEqual([]);
  });
});
