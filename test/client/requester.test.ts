import { afterEach, describe, expect, it } from 'vitest';
import { Requester } from '../../src/client/requester.ts';
import { Errno } from '../../src/errors/index.ts';
import { Connection, EventLoopReactor } from '../../src/transport/index.ts';
import { rawMessage } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { until } from '../helpers/until.ts';
import { Cleanup, MessageReader, native, paired, REPLY } from './fake-server.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const MAX = 64 * 1024;

function build(timeoutMs = 60_000) {
  const { face, peer } = paired();
  const reactor = new EventLoopReactor(native);
  const connection = new Connection({
    native,
    reactor,
    fd: face.connect(''),
    maxMessage: MAX,
    handler: { command: () => true, closed: () => {}, report: () => {} },
  });
  cleanup.add(() => native.close(peer));
  cleanup.add(() => connection.close());
  const reader = new MessageReader(peer);
  const requester = new Requester({ connection, reactor, timeoutMs, maxMessage: MAX });
  const outcomes: string[] = [];
  const submit = (name: string, size = 0): void =>
    requester.submit(
      { command: 10, payload: Buffer.from(name), body: Buffer.alloc(size, name) },
      (_, error) => outcomes.push(`${name} ${error?.code ?? 'answered'}`),
    );
  const post = (name: string, size = 0): void =>
    requester.post([{ command: 10, payload: Buffer.from(name), body: Buffer.alloc(size, name) }], {
      resolve: () => outcomes.push(`${name} posted`),
      reject: (error) =>
        outcomes.push(`${name} ${error instanceof Error && 'code' in error ? error.code : error}`),
    });
  return { connection, requester, reader, peer, outcomes, submit, post };
}

/** Submits large requests until they wait; returns how many that took. */
function clog(built: ReturnType<typeof build>): number {
  let count = 0;
  for (; built.requester.clear; count += 1) built.submit('x', 60_000);
  return count;
}

/** Reads and answers what comes, until `count` messages have come; the first byte of each. */
async function serveAll({ reader, peer }: ReturnType<typeof build>, count: number): Promise<string[]> {
  const names: string[] = [];
  while (names.length < count) {
    const messages = reader.read();
    for (const { payload } of messages) names.push(Buffer.from(payload.subarray(0, 1)).toString());
    const answered = messages.filter(({ flags }) => flags === 0);
    const replies = Buffer.concat(
      answered.map(({ id, command }) => rawMessage(id, command, Buffer.alloc(0), REPLY)),
    );
    expect(
      replies.length === 0 || native.send(peer, replies, 0, replies.length, null, 0, 0, null),
    ).toBeTruthy();
    await settle(1);
  }
  return names;
}

describe('Requester', () => {
  it('keeps the order when the server does not take what is sent, large or small, posted or not', async () => {
    const built = build();
    const before = clog(built);
    built.submit('a');
    built.post('b', 50_000);
    built.submit('c', 10);
    built.post('d');
    expect(built.requester.clear).toBe(false);
    const names = await serveAll(built, before + 4);
    await until(() => built.outcomes.length === before + 4);
    expect(names.join('')).toBe(`${'x'.repeat(before)}abcd`);
    expect(built.outcomes.filter((each) => !each.startsWith('x')).toSorted()).toEqual([
      'a answered',
      'b posted',
      'c answered',
      'd posted',
    ]);
    expect(built.requester.clear).toBe(true);
  });

  it('keeps a copy of a body that has to wait', async () => {
    const built = build();
    clog(built);
    const body = Buffer.from('precious');
    built.requester.submit({ command: 10, payload: Buffer.from('!'), body }, () => {});
    body.fill(0);
    const seen: string[] = [];
    for (let turn = 0; turn < 200 && !seen.includes('!precious'); turn += 1) {
      for (const { payload } of built.reader.read())
        seen.push(Buffer.from(payload.subarray(0, 9)).toString());
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(seen).toContain('!precious');
  });

  it('gives up on a server that takes nothing, in time', async () => {
    const built = build(20);
    clog(built);
    built.submit('a');
    built.post('b');
    await until(() => ['a ERR_TIMEOUT', 'b ERR_TIMEOUT'].every((each) => built.outcomes.includes(each)));
    expect(built.outcomes.every((each) => each.endsWith('ERR_TIMEOUT'))).toBe(true);
  });

  it('fails what waits when the connection ends, once', async () => {
    const built = build(10);
    clog(built);
    built.submit('a');
    built.post('b');
    built.connection.close();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(built.outcomes.filter((each) => /^[ab]/.test(each))).toEqual([
      'a ERR_CONNECTION_CLOSED',
      'b ERR_CONNECTION_CLOSED',
    ]);
    built.submit('c');
    built.post('d');
    expect(built.outcomes.slice(-2)).toEqual(['c ERR_CONNECTION_CLOSED', 'd ERR_CONNECTION_CLOSED']);
  });

  it('refuses a message that is longer than any may be', () => {
    const built = build();
    built.submit('a', MAX);
    built.post('b', MAX);
    expect(built.outcomes).toEqual(['a ERR_CLIENT_ARGUMENT', 'b ERR_CLIENT_ARGUMENT']);
  });

  it('waits with more requests than may be in flight, and sends them as answers come', async () => {
    const built = build();
    const total = 5000;
    for (let i = 0; i < total; i += 1) built.submit('y');
    expect(built.connection.outstanding).toBe(4096);
    expect(built.requester.clear).toBe(false);
    await serveAll(built, total);
    await until(() => built.outcomes.length === total);
    expect(built.outcomes.filter((each) => each === 'y answered')).toHaveLength(total);
  });

  it('posts several, and settles when all are on their way', () => {
    const built = build();
    const settled: unknown[] = [];
    const request = { command: 10, payload: Buffer.from('a') };
    const settle = { resolve: () => settled.push('done'), reject: (error: unknown) => settled.push(error) };
    built.requester.post([request, request], settle);
    built.requester.post([], settle);
    expect(settled).toEqual(['done', 'done']);
    built.connection.flush();
    expect(built.reader.read()).toHaveLength(2);
  });

  it('rejects once when several posts fail', () => {
    const built = build();
    built.connection.close();
    const errors: unknown[] = [];
    const request = { command: 10, payload: Buffer.from('a') };
    built.requester.post([request, request], {
      resolve: () => errors.push('done'),
      reject: (error) => errors.push(error),
    });
    expect(errors).toMatchObject([{ errno: Errno.ENOTCONN }]);
  });
});
