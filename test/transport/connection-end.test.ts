import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import type { Native } from '../../src/native/index.ts';
import { Connection, EventLoopReactor, TransportError } from '../../src/transport/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { rawMessage } from '../helpers/raw-client.ts';
import {
  Bench,
  memfd,
  native,
  openConnection,
  READ,
  REPLY,
  Recorder,
  receiveNow,
  reply,
  sendAll,
  socketpair,
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

/** Memory that was passed, not counting what others in this process have. */
const isMemfd = (entry: string) => entry.includes('memfd');
const memfds = () => openFds().filter(isMemfd);

describe('Connection: the end', () => {
  it('fails requests in flight, and every later one, with the reason', async () => {
    const { connection, handler, client } = bench.withClient();
    const outcomes: unknown[] = [];
    connection.request(READ, 0, 1000, (answer, error) => outcomes.push([answer, error?.code]));
    await client.next();
    client.close();
    await until(() => handler.reasons.length === 1, 'the end');
    expect(outcomes).toEqual([[null, 'ERR_CONNECTION_CLOSED']]);
    expect(connection.closedBecause).toBe(handler.reasons[0]);
    expect(() => connection.request(READ, 0, 1000, () => {})).toThrow(handler.reasons[0]);
    bench.forget();
    connection.close();
    expect(handler.reasons).toHaveLength(1);
  });

  it('notices a peer that has gone when it sends to it', async () => {
    const { connection, handler, peer } = openConnection();
    connection.request(READ, 0, 1000, () => {});
    native.close(peer);
    connection.flush();
    expect(handler.reasons).toMatchObject([{ code: 'ERR_CONNECTION_LOST', errno: Errno.EPIPE }]);
  });

  it('ignores answers to a peer that has gone', async () => {
    const { connection, handler, client } = bench.withClient();
    const tickets: ReturnType<Connection['ticket']>[] = [];
    handler.onCommand = (message) => {
      tickets.push(connection.ticket(message));
      return true;
    };
    client.post(READ);
    await until(() => tickets.length === 1, 'the command');
    connection.close();
    for (const ticket of tickets) {
      expect(connection.reply(ticket, 8)).toBe(-1);
      connection.replyError(ticket, Errno.EIO);
    }
    connection.flush();
    connection.release();
  });

  it('tells those who wait for room', async () => {
    const { connection } = bench.withPeer({ maxMessage: 64 * 1024 });
    while (connection.hasRoom(60_000)) connection.request(WRITE, 60_000, 5000, () => {});
    let called = 0;
    connection.whenDrained(() => {
      called += 1;
    });
    connection.close();
    expect(called).toBe(1);
    connection.whenDrained(() => {
      called += 1;
    });
    await Promise.resolve();
    expect(called).toBe(2);
  });

  it('may come from inside a handler, which may then want to park its command', async () => {
    const { connection, handler, client } = bench.withClient();
    handler.onCommand = (message) => {
      connection.close(new TransportError('ERR_TIMEOUT', 'enough'));
      return message.id === 0;
    };
    const fd = memfd();
    client.post(2, Buffer.alloc(32), 0, [fd]);
    client.post(READ);
    native.close(fd);
    await client.waitClosed();
    expect(handler.commands).toHaveLength(1);
    expect(handler.reasons).toMatchObject([{ code: 'ERR_TIMEOUT' }]);
    expect(connection.heldCommands).toBe(0);
  });

  it('may come from inside a completion', async () => {
    const { connection, handler, client } = bench.withClient();
    connection.request(READ, 0, 1000, () => connection.close());
    const { id } = await client.next();
    client.send(
      Buffer.concat([rawMessage(id, READ, Buffer.alloc(0), REPLY), rawMessage(9, READ, Buffer.alloc(0))]),
    );
    await client.waitClosed();
    expect(handler.commands).toEqual([]);
  });

  it('leaves nothing behind, at whichever byte the peer dies', async () => {
    const message = rawMessage(1, 2, Buffer.alloc(32));
    for (let cut = 0; cut < 2 * message.length; cut += 1) {
      const { connection, handler, peer } = openConnection();
      handler.onCommand = (command) => reply(connection, command, Buffer.alloc(0));
      const fd = memfd();
      sendAll(peer, message.subarray(0, cut), cut > 0 ? [fd] : null);
      if (cut > message.length) sendAll(peer, message.subarray(0, cut - message.length), [fd]);
      native.close(fd);
      native.close(peer);
      await until(() => handler.reasons.length === 1, `the end after ${cut} bytes`);
    }
    expect(openFds()).toEqual(before);
  });

  it('says whether the peer closed inside a message', async () => {
    for (const [bytes, text] of [
      [rawMessage(1, READ, Buffer.alloc(0)).subarray(0, 7), 'inside a message'],
      [Buffer.alloc(0), 'the peer closed the connection'],
    ] as const) {
      const { handler, peer } = openConnection();
      sendAll(peer, bytes);
      native.close(peer);
      await until(() => handler.reasons.length === 1, 'the end');
      expect(handler.reasons[0]?.message).toContain(text);
    }
  });

  it('closes fds that nobody asked for: of commands, malformed messages and skipped bodies', async () => {
    const { connection, handler, client } = bench.withClient({ maxMessage: 1024 });
    handler.onCommand = (message) => reply(connection, message, Buffer.alloc(0));
    const fds = [memfd(), memfd(), memfd()];
    await client.request(READ, Buffer.alloc(8), fds);
    const small = rawMessage(50, READ, Buffer.alloc(0));
    small.writeUInt32LE(3, 4);
    client.send(small, fds);
    await client.reply(50);
    const big = rawMessage(51, WRITE, Buffer.alloc(5000));
    client.send(big.subarray(0, 100), fds);
    client.send(big.subarray(100), fds);
    await client.reply(51);
    await client.request(READ, Buffer.alloc(8), fds);
    for (const fd of fds) native.close(fd);
    expect(memfds()).toEqual(before.filter(isMemfd));
  });

  it('does not give the fds of a skipped body to the message behind it', async () => {
    const { handler, client } = bench.withClient({ maxMessage: 1024 });
    const fds = [memfd(), memfd()];
    const big = rawMessage(51, WRITE, Buffer.alloc(5000));
    client.send(big.subarray(0, 100));
    client.send(big.subarray(100, 200), fds);
    client.send(big.subarray(200));
    client.post(2, Buffer.alloc(32), 0, fds.slice(0, 1));
    await until(() => handler.commands.length === 1, 'the message behind it');
    expect(handler.commands[0]?.fds).toHaveLength(1);
    for (const fd of fds) native.close(fd);
  });

  it('closes the fds of what is still parked', async () => {
    const { connection, client } = bench.withClient();
    connection.hold();
    const fd = memfd();
    client.post(2, Buffer.alloc(32), 0, [fd]);
    native.close(fd);
    await until(() => connection.heldCommands === 1, 'the command');
    connection.close();
    expect(memfds()).toEqual(before.filter(isMemfd));
  });

  it('gives up on a peer that sends more fds than a message can have, a few at a time', async () => {
    const { handler, peer } = bench.withPeer({ maxMessage: 64 * 1024 });
    const fd = memfd();
    const message = rawMessage(1, 2, Buffer.alloc(60_000));
    const fds = Array.from({ length: 100 }, () => fd);
    for (let at = 0; at < 3; at += 1) sendAll(peer, message.subarray(at * 20, at * 20 + 20), fds);
    native.close(fd);
    await until(() => handler.reasons.length === 1, 'the end');
    expect(handler.reasons).toMatchObject([{ code: 'ERR_FRAMING', context: { limit: 253 } }]);
    expect(memfds()).toEqual(before.filter(isMemfd));
  });

  it('closes the socket when the reactor will not have it', () => {
    const [fd, peer] = socketpair();
    const failing: Native = { ...native, pumpStart: () => -Errno.EPERM };
    const reactor = new EventLoopReactor(failing);
    const handler = new Recorder();
    expect(() => new Connection({ native: failing, reactor, fd, handler, maxMessage: 64 })).toThrow();
    expect(receiveNow(peer)).toBeNull();
    native.close(peer);
  });
});
