import { describe, expect, it } from 'vitest';
import { maxPayload } from '../../src/channel/codec.ts';
import { type ChannelError, MAX_BODY, MAX_FIXED, type Message, messages } from '../../src/channel/index.ts';
import type { KindDeclaration } from '../../src/channel/kind.ts';
import { describeChannelMessage, messageCodec } from '../../src/channel/message-codec.ts';
import { epoch, group, samples } from './samples.ts';

const { decode: decodeMessage, encode: encodeMessage, kindOf } = messageCodec;
const scratch = new Uint8Array(MAX_FIXED);

function sides(message: Message): { from: 'sender' | 'receiver'; number: number } {
  const declared: KindDeclaration = messages[message.kind];
  return { from: declared.from === 'receiver' ? 'receiver' : 'sender', number: declared.number };
}

/** A message and its body as the payload of a frame. */
function payload(message: Message, body: Uint8Array = new Uint8Array()): Uint8Array {
  const head = encodeMessage(message, body.length, sides(message).from, scratch);
  return new Uint8Array(Buffer.concat([head, body]));
}

function code(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as ChannelError).code;
  }
  return 'no error';
}

describe('every kind of message', () => {
  it.each(Object.values(samples))('$message.kind comes back as it was sent', ({ message, body }) => {
    const { number, from } = sides(message);
    const decoded = decodeMessage(number, payload(message, body), from);
    expect(decoded.message).toEqual(message);
    expect(decoded.body).toEqual(body ?? new Uint8Array());
  });

  it.each(Object.values(samples))('$message.kind is refused when it is cut short', ({ message, body }) => {
    const { number, from } = sides(message);
    const fixed = kindOf(number)?.fixed.size ?? 0;
    if (fixed === 0) return;
    const short = payload(message, body).subarray(0, fixed - 1);
    expect(code(() => decodeMessage(number, short, from))).toBe('ERR_CHANNEL_MALFORMED');
  });

  it.each(Object.values(samples))('$message.kind is refused when it is too long', ({ message }) => {
    const { number, from } = sides(message);
    const declared = kindOf(number);
    const long = new Uint8Array(declared === undefined ? 0 : maxPayload(declared) + 1);
    expect(code(() => decodeMessage(number, long, from))).toBe('ERR_CHANNEL_MALFORMED');
  });

  it.each(Object.values(samples))('$message.kind is only for those who may send it', ({ message, body }) => {
    const { number, from } = sides(message);
    const declared: KindDeclaration = messages[message.kind];
    if (declared.from === 'both') return;
    const other = from === 'sender' ? 'receiver' : 'sender';
    expect(code(() => decodeMessage(number, payload(message, body), other))).toBe('ERR_CHANNEL_MALFORMED');
    expect(code(() => encodeMessage(message, 0, other, scratch))).toBe('ERR_CHANNEL_MESSAGE');
  });

  it('has a number of its own and a fixed part within its room', () => {
    const all: readonly KindDeclaration[] = Object.values(messages);
    expect(new Set(all.map(({ number }) => number)).size).toBe(all.length);
    for (const { number, fixed } of all) {
      expect(number).toBeGreaterThanOrEqual(16);
      expect(fixed.size).toBeLessThanOrEqual(MAX_FIXED);
    }
  });
});

it('lays messages out little-endian, whatever the host', () => {
  const head = encodeMessage({ kind: 'MEMORY', region: 0x0102, offset: 0x0304n }, 0, 'sender', scratch);
  expect(Buffer.from(head).toString('hex')).toBe('02010403000000000000');
});

it.each<[string, Message, number]>([
  ['a number that is no u16', { kind: 'DATA', device: 65536 }, 0],
  ['a fraction', { kind: 'DATA', device: 0.5 }, 0],
  ['a negative u64', { kind: 'READY', group, epoch: -1n }, 0],
  ['an id that is no id', { kind: 'READY', group: 'x', epoch }, 0],
  ['bits that do not exist', { kind: 'ACTIONS', device: 0, actions: 4 }, 0],
  ['a body that is too large', { kind: 'DATA', device: 0 }, MAX_BODY + 1],
  ['a body where there is none', { kind: 'OPEN' }, 1],
  ['a text of JSON that is too long', { kind: 'ABORT', group, epoch, reason: 'x'.repeat(8200) }, 0],
  ['JSON that nests too deep', { kind: 'ABORT', group, epoch, reason: [[[[]]]] }, 0],
])('does not send %s', (_, message, bodyLength) => {
  expect(code(() => encodeMessage(message, bodyLength, 'sender', scratch))).toBe('ERR_CHANNEL_MESSAGE');
});

const head = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'));
const decided = `${group}0700000000000000`;

it.each<[string, number, Uint8Array]>([
  ['an unknown kind', 999, head('')],
  ['bits that do not exist', messages.ACTIONS.number, head('000004000000')],
  ['JSON that is none', messages.MANIFEST.number, head('7b')],
  ['JSON that is no UTF-8', messages.MANIFEST.number, head('22ff22')],
  ['JSON with a byte order mark', messages.MANIFEST.number, head('efbbbf7b7d')],
  ['JSON that nests too deep', messages.MANIFEST.number, Buffer.from('['.repeat(13) + ']'.repeat(13))],
  ['a part of a row', messages.COMPLETE.number, head(`${decided}00`)],
  ['bytes after a message without a tail', messages.READY.number, head(`${decided}00`)],
])('refuses %s', (_, number, bytes) => {
  expect(code(() => decodeMessage(number, bytes, 'sender'))).toBe('ERR_CHANNEL_MALFORMED');
});

it('prints a message on one line', () => {
  const line = ({ message, body }: (typeof samples)['DATA']): string =>
    describeChannelMessage(message, body ?? new Uint8Array());
  expect(line(samples.DATA)).toBe('DATA device=3, 5000 bytes');
  expect(line(samples.ACTIONS)).toBe('ACTIONS device=1 actions=INTERRUPTS');
  expect(line(samples.VERDICT)).toBe('VERDICT verdict={"fits":true,"notes":[]}');
  expect(line(samples.COMPLETE)).toBe(
    `COMPLETE group=${group} epoch=7 totals=[{device=0 bytes=5000 checksum=3735928559} {device=1 bytes=0 checksum=0}]`,
  );
});
