import { describe, expect, it } from 'vitest';
import { encodeCommand, QmpDecoder } from '../../../src/vm/qmp/qmp-codec.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 3, "minor": 1, "major": 11}}, "capabilities": ["oob"]}}';

describe('what a monitor says', () => {
  it.each([
    ['its greeting', GREETING, { is: 'greeting' }],
    ['an answer', '{"return": {"a": 1}, "id": 7}', { is: 'return', id: 7, value: { a: 1 } }],
    ['an answer to nobody', '{"return": {}}', { is: 'return', id: null, value: {} }],
    [
      'an error',
      '{"id": 2, "error": {"class": "GenericError", "desc": "no"}}',
      { is: 'error', id: 2, kind: 'GenericError', text: 'no' },
    ],
    [
      'an error without a reason',
      '{"error": {}}',
      { is: 'error', id: null, kind: '', text: 'no reason given' },
    ],
    [
      'an event',
      '{"event": "STOP", "timestamp": {"seconds": 1700000000, "microseconds": 1500}}',
      { is: 'event', name: 'STOP', data: undefined, atMs: 1_700_000_000_001.5 },
    ],
    [
      'an event without a time',
      '{"event": "STOP", "timestamp": {"seconds": -1, "microseconds": -1}}',
      { is: 'event', name: 'STOP', data: undefined, atMs: null },
    ],
  ])('is %s', (_, line, message) => {
    expect(new QmpDecoder().push(bytes(`${line}\r\n`))).toEqual([message]);
  });

  it('may be cut anywhere, also within a character', () => {
    const decoder = new QmpDecoder();
    const whole = bytes('{"event":"É"}\n{"return":1,"id":1}\n');
    const messages = [...whole].flatMap((byte) => decoder.push(Uint8Array.of(byte)));
    expect(messages).toEqual([
      { is: 'event', name: 'É', data: undefined, atMs: null },
      { is: 'return', id: 1, value: 1 },
    ]);
  });

  it.each([
    ['no JSON', bytes('hello\n')],
    ['JSON that says nothing', bytes('{"a": 1}\n')],
    ['a list', bytes('[]\n')],
    ['no UTF-8', Uint8Array.of(0xff, 0x0a)],
    ['a line that is too long', bytes('x'.repeat(101))],
    ['a whole line that is too long', bytes(`${'x'.repeat(101)}\n`)],
  ])('is refused when it is %s', (_, raw) => {
    expect(() => new QmpDecoder(100).push(raw)).toThrow(expect.objectContaining({ code: 'ERR_VM_PROTOCOL' }));
  });
});

it('a command is one line', () => {
  expect(encodeCommand(3, 'cont', null)).toBe('{"execute":"cont","id":3}\n');
  expect(encodeCommand(4, 'migrate', { uri: 'a\nb' })).toBe(
    '{"execute":"migrate","arguments":{"uri":"a\\nb"},"id":4}\n',
  );
});
