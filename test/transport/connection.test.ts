import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno, FerryError } from '../../src/errors/index.ts';
import { Control, type Native } from '../../src/native/index.ts';
import { Connection, EventLoopReactor, type IncomingMessage } from '../../src/transport/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { rawMessage } from '../helpers/raw-client.ts';
import {
  Bench,
  ERROR_REPLY,
  memfd,
  NO_REPLY,
  native,
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

class Refusal extends FerryError {
  constructor(errno: number) {
    super('ERR_TEST', 'refused', { errno });
  }
}

describe('Connection: commands', () => {
  it('answers pipelined commands in order, and leaves it to the port to send them with one call', async () => {
    const left: number[] = [];
    const face: Native = {
      ...native,
      pumpStart: (fd, rx, tx, fds, control, onReceive, onWritable) => {
        const received = (result: number): void => {
          onReceive(result);
          left.push((control[Control.TX_END] ?? 0) - (control[Control.TX_START] ?? 0));
        };
        return native.pumpStart(fd, rx, tx, fds, control, received, onWritable);
      },
    };
    const [fd, peer] = socketpair();
    const handler = new Recorder();
    const reactor = new EventLoopReactor(face);
    const connection = new Connection({ native: face, reactor, fd, handler, maxMessage: 4096 });
    bench.later(() => {
      connection.close();
      native.close(peer);
    });
    handler.onCommand = (message) => reply(connection, message, Buffer.from([message.id]));
    sendAll(peer, Buffer.concat([1, 2, 3].map((id) => rawMessage(id, READ, Buffer.alloc(id)))));
    await until(() => handler.commands.length === 3, 'the commands');
    const replies = Buffer.concat([1, 2, 3].map((id) => rawMessage(id, READ, Buffer.from([id]), REPLY)));
    expect(left).toEqual([replies.length]);
    expect(receiveNow(peer)).toEqual(replies);
  });

  it('answers later, in any order, with a ticket', async () => {
    const { connection, handler, client } = bench.withClient();
    const tickets: ReturnType<Connection['ticket']>[] = [];
    handler.onCommand = (message) => {
      tickets.push(connection.ticket(message));
      return true;
    };
    const ids = [client.post(READ), client.post(READ)];
    await until(() => tickets.length === 2, 'the commands');
    for (const ticket of tickets.toReversed()) connection.reply(ticket, 0);
    const order = [(await client.next()).id, (await client.next()).id];
    expect(order).toEqual(ids.toReversed());
  });

  it('sends nothing in answer to a posted command, whatever the handler does', async () => {
    const { connection, handler, client } = bench.withClient();
    handler.onCommand = (message) => {
      if (message.id === 1) return reply(connection, message, Buffer.from('unwanted'));
      if (message.id === 2) throw new Refusal(Errno.EPERM);
      if (message.id === 3) connection.replyError(message, Errno.EPERM);
      return reply(connection, message, Buffer.alloc(0));
    };
    for (let i = 0; i < 3; i += 1) client.post(WRITE, Buffer.alloc(0), NO_REPLY);
    const last = client.post(READ);
    expect((await client.next()).id).toBe(last);
  });

  it.each([
    ['before it has begun a reply', false],
    ['after it has begun a reply', true],
  ])('turns what a handler throws %s into an error reply', async (_, begun) => {
    const { connection, handler, client } = bench.withClient();
    handler.onCommand = (message) => {
      if (begun) reply(connection, message, Buffer.from('half-done'));
      throw new Refusal(Errno.EBUSY);
    };
    const answer = await client.request(READ);
    expect(answer).toMatchObject({ flags: ERROR_REPLY, error: Errno.EBUSY });
    expect(answer.payload).toHaveLength(0);
    expect(await client.receives(() => true, 20)).toBe(false);
    expect(handler.reports).toEqual([]);
  });

  it("takes a begun reply's fds back with it", async () => {
    const { connection, handler, client } = bench.withClient();
    const fd = memfd();
    bench.later(() => native.close(fd));
    handler.onCommand = (message) => {
      reply(connection, message, Buffer.from('half-done'));
      connection.attachFds([fd]);
      throw new Refusal(Errno.EBUSY);
    };
    expect((await client.request(READ)).fds).toEqual([]);
  });

  it('answers a bug of the handler with EIO and reports it', async () => {
    const { handler, client } = bench.withClient();
    handler.onCommand = () => {
      throw new TypeError('oops');
    };
    expect(await client.request(READ)).toMatchObject({ flags: ERROR_REPLY, error: Errno.EIO });
    expect(handler.reports).toHaveLength(1);
    expect(handler.reports[0]).toMatchObject({
      context: { command: 'REGION_READ' },
      cause: expect.any(TypeError),
    });
  });

  it('answers once when a handler throws after its reply has been sent', async () => {
    const { connection, handler, client } = bench.withClient();
    handler.onCommand = (message) => {
      reply(connection, message, Buffer.from('head'));
      connection.sendBody(Buffer.from('body'));
      throw new Refusal(Errno.EBUSY);
    };
    const answer = await client.request(READ);
    expect(Buffer.from(answer.payload).toString()).toBe('headbody');
    expect(await client.receives(() => true, 20)).toBe(false);
    expect(handler.reports).toMatchObject([{ errno: Errno.EBUSY }]);
  });

  it('keeps the reply of another command that a throwing handler has sent meanwhile', async () => {
    const { connection, handler, client } = bench.withClient();
    let first: ReturnType<Connection['ticket']> | null = null;
    handler.onCommand = (message) => {
      if (first === null) {
        first = connection.ticket(message);
        return true;
      }
      connection.reply(first, 0);
      throw new Refusal(Errno.EBUSY);
    };
    const [one, two] = [client.post(READ), client.post(READ)];
    expect(await client.reply(one)).toMatchObject({ flags: REPLY });
    expect(await client.reply(two)).toMatchObject({ flags: ERROR_REPLY, error: Errno.EBUSY });
  });

  it('sends a large body behind its header without mixing it with other replies', async () => {
    const { connection, handler, client } = bench.withClient({ maxMessage: 1 << 20 });
    const body = Buffer.alloc(900_000, 0xab);
    handler.onCommand = (message) => {
      if (message.id !== 2) return reply(connection, message, Buffer.from([message.id]));
      connection.reply(message, 4);
      connection.sendBody(body);
      return true;
    };
    const ids = [client.post(READ), client.post(READ), client.post(READ)];
    const answers = [];
    for (const id of ids) answers.push(await client.reply(id));
    expect(answers.map(({ payload }) => payload.length)).toEqual([1, 900_004, 1]);
    expect(Buffer.from(answers[1]?.payload.subarray(4) ?? []).equals(body)).toBe(true);
  });

  it.each([
    ['a size below the header', (bytes: Buffer) => bytes.writeUInt32LE(15, 4), Errno.EINVAL],
    ['a type that is neither command nor reply', (bytes: Buffer) => bytes.writeUInt32LE(2, 8), Errno.EINVAL],
  ])('answers %s and goes on', async (_, spoil, errno) => {
    const { connection, handler, client } = bench.withClient();
    handler.onCommand = (message) => reply(connection, message, Buffer.alloc(0));
    const bytes = rawMessage(100, READ, Buffer.alloc(0));
    spoil(bytes);
    client.send(bytes);
    expect(await client.reply(100)).toMatchObject({ flags: ERROR_REPLY, error: errno });
    expect(await client.request(READ)).toMatchObject({ flags: REPLY });
  });

  it('answers a message that is too long with EMSGSIZE, skips it and goes on', async () => {
    const { connection, handler, client } = bench.withClient({ maxMessage: 1024 });
    handler.onCommand = (message) => reply(connection, message, Buffer.alloc(0));
    client.send(rawMessage(100, WRITE, Buffer.alloc(150_000)));
    expect(await client.reply(100)).toMatchObject({ flags: ERROR_REPLY, error: Errno.EMSGSIZE });
    expect(await client.request(READ)).toMatchObject({ flags: REPLY });
    expect(handler.commands).toHaveLength(1);
  });

  it.each([
    ['a size that no message has', rawSize(0x7fff_ffff, 0)],
    ['a reply that is too long', rawSize(1 << 20, REPLY)],
    ['a reply below the size of a header', rawSize(8, REPLY)],
  ])('gives up on %s', async (_, bytes) => {
    const { handler, client } = bench.withClient();
    client.send(bytes);
    await client.waitClosed();
    expect(handler.reasons).toMatchObject([{ code: 'ERR_FRAMING' }]);
  });
});

function rawSize(size: number, flags: number): Buffer {
  const bytes = rawMessage(1, READ, Buffer.alloc(0), flags);
  bytes.writeUInt32LE(size, 4);
  return bytes;
}

describe('Connection: hands over a message', () => {
  it('in place, with all of its fds', async () => {
    const { handler, client } = bench.withClient();
    const seen: { fds: number; bytes: string }[] = [];
    handler.onCommand = (message: IncomingMessage) => {
      seen.push({ fds: message.fds.length, bytes: Buffer.from(message.payload()).toString() });
      return true;
    };
    const fds = [memfd(), memfd()];
    client.post(2, Buffer.from('first'), 0, fds);
    client.post(2, Buffer.from('second'));
    for (const fd of fds) native.close(fd);
    await until(() => seen.length === 2, 'the messages');
    expect(seen).toEqual([
      { fds: 2, bytes: 'first' },
      { fds: 0, bytes: 'second' },
    ]);
  });
});
