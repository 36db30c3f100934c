import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { rawMessage } from '../helpers/raw-client.ts';
import {
  Bench,
  memfd,
  NO_REPLY,
  native,
  pause,
  READ,
  REPLY,
  receiveNow,
  reply,
  sendAll,
  until,
  WRITE,
} from './support.ts';

const bench = new Bench();
let before: string[] = [];
beforeEach(() => {
  before = openFds();
});
afterEach(() => {
  bench.clear();
  expect(openFds()).toEqual(before);
});

describe('Connection: requests', () => {
  it('matches replies that come in another order', async () => {
    const { connection, client } = bench.withClient();
    const answers: string[] = [];
    const ask = (what: string): void => {
      const at = connection.request(WRITE, what.length, 1000, (answer) => {
        answers.push(Buffer.from(answer?.payload() ?? []).toString());
      });
      connection.out.bytes.set(Buffer.from(what), at);
    };
    ask('a');
    ask('b');
    const [first, second] = [await client.next(), await client.next()];
    for (const { id, payload } of [second, first]) client.send(rawMessage(id, WRITE, payload, REPLY));
    await until(() => answers.length === 2, 'the answers');
    expect(answers).toEqual(['b', 'a']);
    expect(connection.outstanding).toBe(0);
  });

  it('sends everything that is asked in one turn with one call, and at once when told to', async () => {
    const { connection, peer } = bench.withPeer();
    connection.request(READ, 0, 1000, () => {});
    connection.request(READ, 0, 1000, () => {});
    expect(receiveNow(peer)).toHaveLength(0);
    await Promise.resolve();
    expect(receiveNow(peer)).toHaveLength(32);
    connection.request(READ, 0, 1000, () => {});
    connection.flush();
    expect(receiveNow(peer)).toHaveLength(16);
  });

  it('hands over the fds of a reply, and closes those that nobody takes', async () => {
    const { connection, peer } = bench.withPeer();
    const fds: number[] = [];
    const completed: number[] = [];
    for (const take of [true, false]) {
      connection.request(READ, 0, 1000, (answer) => {
        completed.push(answer?.fds.length ?? -1);
        if (take) fds.push(...(answer?.takeFds() ?? []));
      });
    }
    const fd = memfd();
    sendAll(peer, rawMessage(1, READ, Buffer.alloc(0), REPLY), [fd]);
    sendAll(peer, rawMessage(2, READ, Buffer.alloc(0), REPLY), [fd]);
    native.close(fd);
    await until(() => completed.length === 2, 'the replies');
    expect(completed).toEqual([1, 1]);
    expect(fds).toHaveLength(1);
    for (const each of fds) expect(native.close(each)).toBe(0);
  });

  it('reports a reply that nobody asked for, and goes on', async () => {
    const { connection, handler, client } = bench.withClient();
    handler.onCommand = (message) => reply(connection, message, Buffer.alloc(0));
    client.send(rawMessage(77, READ, Buffer.alloc(0), REPLY));
    expect(await client.request(READ)).toMatchObject({ flags: REPLY });
    expect(handler.reports).toMatchObject([{ code: 'ERR_FRAMING', context: { id: 77 } }]);
  });

  it('times out, drops the late reply, and goes on', async () => {
    const { connection, handler, client } = bench.withClient();
    const outcomes: (string | null)[] = [];
    connection.request(READ, 0, 20, (_, error) => outcomes.push(error?.code ?? null));
    const { id } = await client.next();
    await until(() => outcomes.length === 1, 'the time-out');
    client.send(rawMessage(id, READ, Buffer.alloc(0), REPLY));
    connection.request(READ, 0, 1000, (_, error) => outcomes.push(error?.code ?? null));
    const second = await client.next();
    expect(second.id).not.toBe(id);
    client.send(rawMessage(second.id, READ, Buffer.alloc(0), REPLY));
    await until(() => outcomes.length === 2, 'the answer');
    expect(outcomes).toEqual(['ERR_TIMEOUT', null]);
    expect(handler.reports).toEqual([]);
  });

  it('reads what has arrived before it blames the peer for a time in which it could not run itself', async () => {
    const { connection, client } = bench.withClient();
    const outcomes: (string | null)[] = [];
    connection.request(READ, 0, 20, (_, error) => outcomes.push(error?.code ?? null));
    const { id } = await client.next();
    client.send(rawMessage(id, READ, Buffer.alloc(0), REPLY));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60);
    await until(() => outcomes.length === 1, 'the answer');
    expect(outcomes).toEqual([null]);
  });

  it('asks again from inside a completion', async () => {
    const { connection, client } = bench.withClient();
    let done = false;
    connection.request(READ, 0, 1000, () => {
      connection.request(WRITE, 0, 1000, () => {
        done = true;
      });
    });
    for (const command of [READ, WRITE]) {
      const { id } = await client.next();
      client.send(rawMessage(id, command, Buffer.alloc(0), REPLY));
    }
    await until(() => done, 'the second answer');
  });

  it('posts commands: no answer is waited for', async () => {
    const { connection, client } = bench.withClient();
    connection.request(WRITE, 0, 1000, null);
    expect(await client.next()).toMatchObject({ command: WRITE, flags: NO_REPLY });
    expect(connection.outstanding).toBe(0);
  });

  it('refuses requests when the peer takes none, and says when it takes them again', async () => {
    const { connection, peer } = bench.withPeer({ maxMessage: 64 * 1024 });
    const size = 60_000;
    let count = 0;
    for (; connection.hasRoom(size); count += 1) connection.request(WRITE, size, 5000, () => {});
    expect(() => connection.request(WRITE, size, 5000, () => {})).toThrow(
      expect.objectContaining({ code: 'ERR_SEND_QUEUE_FULL', errno: Errno.ENOBUFS }),
    );
    let drained = false;
    connection.whenDrained(() => {
      drained = true;
    });
    await pause(5);
    expect(drained).toBe(false);
    let received = 0;
    await until(() => {
      received += receiveNow(peer)?.length ?? 0;
      return drained;
    }, 'the queue to drain');
    received += receiveNow(peer)?.length ?? 0;
    expect(received).toBe(count * (size + 16));
    expect(connection.hasRoom(size)).toBe(true);
  });

  it('calls back at once when there is nothing to drain', async () => {
    const { connection } = bench.withPeer();
    let drained = false;
    connection.whenDrained(() => {
      drained = true;
    });
    expect(drained).toBe(false);
    await Promise.resolve();
    expect(drained).toBe(true);
  });

  it('takes no more requests than there are ids for', () => {
    const { connection } = bench.withPeer({ maxMessage: 1 << 20 });
    let count = 0;
    for (; connection.hasRoom(0) && count < 70_000; count += 1) connection.request(READ, 0, 5000, () => {});
    expect(count).toBe(32 * 1024);
    expect(() => connection.request(READ, 0, 5000, () => {})).toThrow(
      expect.objectContaining({ code: 'ERR_SEND_QUEUE_FULL' }),
    );
  });
});
