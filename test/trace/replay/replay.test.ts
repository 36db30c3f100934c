import { describe, expect, it } from 'vitest';
import { compareAnswers, ignoring, scriptOf, type TraceEvent } from '../../../src/trace/index.ts';
import { hex } from '../../protocol/support.ts';
import { messageEvent, whole } from '../support.ts';

const readReply = (data: string): Buffer => whole(9, true, hex(`0000000000000000 00000000 04000000 ${data}`));
const answer = (bytes: Uint8Array, fds = 0) => ({ bytes, fds });
const version = (json: string): Buffer =>
  whole(1, true, Buffer.concat([hex('00000000'), Buffer.from(`${json}\0`)]));

function failed(errno: number): Buffer {
  const bytes = whole(9, true, Buffer.alloc(0));
  bytes.writeUInt32LE(0x21, 8);
  bytes.writeUInt32LE(errno, 12);
  return bytes;
}

describe('two answers', () => {
  it('are the same whatever their ids', () => {
    const other = readReply('01020304');
    other.writeUInt16LE(999, 0);
    expect(compareAnswers(answer(readReply('01020304')), answer(other))).toEqual([]);
  });

  it('differ in the fields that differ', () => {
    expect(compareAnswers(answer(readReply('01020304')), answer(readReply('01020305')))).toEqual([
      { field: 'region_read.reply.data', recorded: '01020304', now: '01020305' },
    ]);
  });

  it('differ where they look alike but are not', () => {
    const long = (last: number): Buffer =>
      whole(
        9,
        true,
        Buffer.concat([hex('0000000000000000 00000000 64000000'), Buffer.alloc(99), Buffer.of(last)]),
      );
    expect(compareAnswers(answer(long(1)), answer(long(2)))).toHaveLength(1);
  });

  it('differ in how they went, and in what came along', () => {
    expect(compareAnswers(answer(failed(22)), answer(failed(16)))).toEqual([
      { field: 'region_read.reply.outcome', recorded: 'EINVAL', now: 'EBUSY' },
    ]);
    const differences = compareAnswers(answer(failed(22)), answer(readReply('00000000'), 1));
    expect(differences.map(({ field }) => field)).toEqual([
      'region_read.reply.outcome',
      'region_read.reply.fds',
      'region_read.reply.offset',
      'region_read.reply.region',
      'region_read.reply.count',
      'region_read.reply.data',
    ]);
  });

  it('differ in the members of their JSON', () => {
    const before = version('{"capabilities":{"max_msg_fds":16,"migration":{"pgsize":4096}}}');
    const after = version(
      '{"capabilities":{"max_msg_fds":8,"migration":{"pgsize":4096},"write_multiple":true}}',
    );
    expect(compareAnswers(answer(before), answer(after))).toEqual([
      { field: 'version.reply.capabilities.capabilities.max_msg_fds', recorded: '16', now: '8' },
      { field: 'version.reply.capabilities.capabilities.write_multiple', recorded: null, now: 'true' },
    ]);
    expect(compareAnswers(answer(version('[[')), answer(version('[[')))).toEqual([]);
    const deep = version('['.repeat(9000) + ']'.repeat(9000));
    expect(compareAnswers(answer(deep), answer(deep))).toEqual([]);
  });

  it.each([
    ['data', true],
    ['region_read.data', true],
    ['region_read.reply.data', true],
    ['REGION_*.data', true],
    ['*', true],
    ['dma_read.data', false],
    ['dat', false],
  ])('may differ where it is said: %s', (name, may) => {
    expect(ignoring([name])('region_read.reply.data')).toBe(may);
  });
});

describe('a script', () => {
  const read = (id: number): Buffer => whole(9, false, hex('0000000000000000 00000000 04000000'), id);
  const posted = read(9);
  posted.writeUInt32LE(0x10, 8);
  const dmaRead = whole(11, false, hex('0010000000000000 0400000000000000'), 1);
  const dmaReply = whole(11, true, hex('0010000000000000 0400000000000000 0a0b0c0d'), 1);
  const connection = { number: 1, role: 'main' as const };
  const events: TraceEvent[] = [
    { kind: 'opened', connection, time: 0n, pid: 1 },
    messageEvent('client', read(1), { time: 1n }),
    messageEvent('server', dmaRead, { time: 2n }),
    messageEvent('client', dmaReply, { time: 3n }),
    messageEvent('server', readReply('00000001'), { time: 4n }),
    messageEvent('client', posted, { time: 5n }),
    messageEvent('client', read(2), { time: 6n, number: 2 }),
    { kind: 'bytes', connection, time: 7n, from: 'client', bytes: Buffer.from('x'), wireSize: 1, fds: [] },
    messageEvent('client', read(3), { time: 8n }),
  ];
  events[4] = messageEvent('server', Buffer.from(readReply('00000001')).fill(1, 0, 1).fill(0, 1, 2), {
    time: 4n,
  });

  it('is the requests of one connection with their replies, and what the client answered', () => {
    const script = scriptOf(events, 1);
    expect(
      script?.requests.map(({ told, wantsReply, reply }) => [
        told.message.header.messageId,
        wantsReply,
        reply?.time,
      ]),
    ).toEqual([
      [1, true, 4n],
      [9, false, undefined],
      [3, true, undefined],
    ]);
    expect(script?.answers.map(({ request, reply }) => [request.time, reply.time])).toEqual([[2n, 3n]]);
    expect(script?.leftOut).toBe(1);
    expect(scriptOf(events, 2)?.requests).toHaveLength(1);
  });
});
