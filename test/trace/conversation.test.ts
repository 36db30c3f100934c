import { describe, expect, it } from 'vitest';
import { v1Name } from '../../src/states/index.ts';
import { Conversation, type Told } from '../../src/trace/index.ts';
import { hex } from '../protocol/support.ts';
import { messageEvent, whole } from './support.ts';

const RESET = 13;
const read = (id: number): Buffer => whole(9, false, hex('0000000000000000 07000000 04000000'), id);
const readReply = (id: number): Buffer =>
  whole(9, true, hex('0000000000000000 07000000 04000000 00000000'), id);

function failed(bytes: Buffer, errno: number): Buffer {
  bytes.writeUInt32LE(0x21, 8);
  bytes.writeUInt32LE(errno, 12);
  return bytes;
}

/** Tells a conversation line by line: who says what, when. */
function converse(...lines: readonly (readonly ['client' | 'server', Buffer, bigint, number?])[]): Told[] {
  const conversation = new Conversation();
  return lines.map(([from, bytes, time, number = 1]) =>
    conversation.tell(messageEvent(from, bytes, { time, number })),
  );
}

const pairs = (told: readonly Told[]): unknown => told.map(({ answers, latency }) => [answers, latency]);

describe('a reply', () => {
  it('belongs to the request with its id and command, whatever came between', () => {
    const told = converse(
      ['client', read(1), 100n],
      ['client', read(2), 200n],
      ['server', readReply(2), 350n],
      ['server', failed(whole(9, true, Buffer.alloc(0), 1), 22), 400n],
    );
    expect(pairs(told)).toEqual([
      [null, null],
      [null, null],
      [2, 150n],
      [1, 300n],
    ]);
    expect(told[3]?.request?.name).toBe('REGION_READ');
  });

  it('belongs to the oldest request when ids are used again meanwhile', () => {
    const told = converse(
      ['client', read(1), 1n],
      ['client', whole(RESET, false, Buffer.alloc(0), 1), 2n],
      ['client', read(1), 3n],
      ['server', readReply(1), 10n],
      ['server', readReply(1), 20n],
      ['server', whole(RESET, true, Buffer.alloc(0), 1), 30n],
    );
    expect(pairs(told)).toEqual([...[1, 2, 3].map(() => [null, null]), [1, 9n], [3, 17n], [2, 28n]]);
  });

  it('goes the other way for what the server asks, and stays on its connection', () => {
    const dmaRead = whole(11, false, hex('0000000000000000 0400000000000000'), 1);
    const dmaReply = whole(11, true, hex('0000000000000000 0400000000000000 01020304'), 1);
    const told = converse(
      ['client', read(1), 1n],
      ['server', dmaRead, 2n],
      ['client', dmaReply, 5n],
      ['server', readReply(1), 6n, 2],
      ['server', readReply(1), 8n],
    );
    expect(pairs(told)).toEqual([
      [null, null],
      [null, null],
      [2, 3n],
      [null, null],
      [1, 7n],
    ]);
  });

  it('to a posted command is one that nobody asked for', () => {
    const posted = read(1);
    posted.writeUInt32LE(0x10, 8);
    const told = converse(['client', posted, 1n], ['server', readReply(1), 2n]);
    expect(told[1]?.answers).toBeNull();
  });

  it('is awaited by no more requests than are remembered, and by none when the connection is over', () => {
    const conversation = new Conversation();
    const connection = { number: 1, role: 'main' as const };
    for (let i = 0; i < 70_000; i += 1) conversation.tell(messageEvent('client', read(i & 0xffff)));
    expect(conversation.waiting(connection, 'client')).toBe(64 * 1024);
    conversation.ended(connection);
    expect(conversation.waiting(connection, 'client')).toBe(0);
    expect(conversation.tell(messageEvent('server', readReply(1))).answers).toBeNull();
  });
});

describe('the state of the device', () => {
  const GET = '02000100';
  const SET = '02000200';
  const state = (reply: boolean, flags: string, number: number, id = 1): Buffer =>
    whole(16, reply, hex(`10000000 ${flags} 0${number}000000 ffffffff`), id);
  const changes = (told: readonly Told[]): unknown =>
    told.map(({ change }) => change).filter((one) => one !== null);

  it('changes when a change is answered, and is seen when asked for', () => {
    const told = converse(
      ['server', state(true, GET, 2), 1n],
      ['client', state(false, SET, 3), 2n],
      ['server', state(true, SET, 3), 3n],
      ['server', state(true, GET, 3), 4n],
      ['server', state(true, GET, 1), 5n],
      ['server', whole(RESET, true, Buffer.alloc(0)), 6n],
    );
    expect(changes(told)).toEqual([
      { from: null, to: 'RUNNING', by: 'seen' },
      { from: 'RUNNING', to: 'STOP_COPY', by: 'set' },
      { from: 'STOP_COPY', to: 'STOP', by: 'seen' },
      { from: 'STOP', to: 'RUNNING', by: 'reset' },
    ]);
  });

  it('is not known after a change was refused', () => {
    const told = converse(
      ['server', state(true, GET, 2), 1n],
      ['client', state(false, SET, 4), 2n],
      ['server', failed(whole(16, true, Buffer.alloc(0), 1), 22), 3n],
      ['server', state(true, GET, 2), 4n],
    );
    expect(changes(told)).toEqual([
      { from: null, to: 'RUNNING', by: 'seen' },
      { from: 'RUNNING', to: 'RESUMING', by: 'failed' },
      { from: null, to: 'RUNNING', by: 'seen' },
    ]);
  });

  it('of v1 is a register in a region of its own', () => {
    const info = whole(
      5,
      true,
      hex(
        '30000000 0b000000 09000000 20000000 0010000000000000 0000000000000000 0200 0100 00000000 03000000 01000000',
      ),
    );
    const access = (command: number, reply: boolean, data: string, region = '09'): Buffer =>
      whole(command, reply, hex(`0000000000000000 ${region}000000 04000000 ${data}`));
    const write = (value: string): readonly ['client' | 'server', Buffer, bigint][] => [
      ['client', access(10, false, value), 1n],
      ['server', access(10, true, ''), 2n],
    ];
    const told = converse(
      ['client', access(10, false, '03000000'), 1n],
      ['server', access(10, true, ''), 1n],
      ['server', info, 1n],
      ['server', access(9, true, '01000000'), 1n],
      ...write('03000000'),
      ['server', access(9, true, '04000000', '08'), 3n],
      ['client', access(10, false, '02000000'), 4n],
      ['server', failed(whole(10, true, Buffer.alloc(0)), 22), 5n],
    );
    expect(changes(told)).toEqual([
      { from: null, to: v1Name(1), by: 'seen' },
      { from: v1Name(1), to: v1Name(3), by: 'set' },
      { from: v1Name(3), to: v1Name(2), by: 'failed' },
    ]);
  });
});
