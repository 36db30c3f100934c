import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno, FerryError } from '../../src/errors/index.ts';
import type { Native } from '../../src/native/index.ts';
import {
  Connection,
  EventLoopReactor,
  type IncomingMessage,
  TransportError,
} from '../../src/transport/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { RawClient, rawMessage } from '../helpers/raw-client.ts';
import {
  native,
  openConnection,
  pause,
  Recorder,
  receiveNow,
  reply,
  sendAll,
  socketpair,
  until,
} from './support.ts';

const READ = 9;
const WRITE = 10;
const NO_REPLY = 0x10;
const REPLY = 1;
const ERROR_REPLY = 0x21;

let before: string[] = [];
const cleanup: (() => void)[] = [];
beforeEach(() => {
  before = openFds();
});
afterEach(() => {
  for (const run of cleanup.splice(0).toReversed()) run();
  expect(openFds()).toEqual(before);
});

/** A connection whose other end is a client of bytes. */
function withClient(options: Parameters<typeof openConnection>[0] = {}) {
  const opened = openConnection(options);
  const client = new RawClient(opened.peer);
  cleanup.push(() => {
    opened.connection.close();
    if (!client.closed) client.close();
    else native.close(client.fd);
  });
  return { ...opened, client };
}

/** A connection whose other end the test reads and writes by itself. */
function withPeer(options: Parameters<typeof openConnection>[0] = {}) {
  const opened = openConnection(options);
  cleanup.push(() => {
    opened.connection.close();
    native.close(opened.peer);
  });
  return opened;
}

function memfd(): number {
  const fd = native.memfd('test', 4096, false);
  if (fd < 0) throw new Error(`memfd: ${fd}`);
  return fd;
}

class Refusal extends FerryError {
  constructor(errno: number) {
    super('ERR_TEST', 'refused', { errno });
  }
}

describe('Connection: commands', () => {
  it('answers pipelined commands in order and with one send', async () => {
    let sends = 0;
    const face: Native = {
      ...native,
      send: (...args) => {
        sends += 1;
        return native.send(...args);
      },
    };
    const [fd, peer] = socketpair();
    const handler = new Recorder();
    const reactor = new EventLoopReactor(face);
    const connection = new Connection({ native: face, reactor, fd, handler, maxMessage: 4096 });
    cleanup.push(() => {
      connection.close();
      native.close(peer);
    });
    handler.onCommand = (message) => reply(connection, message, Buffer.from([message.id]));
    sendAll(peer, Buffer.concat([1, 2, 3].map((id) => rawMessage(id, READ, Buffer.alloc(id)))));
    await until(() => handler.commands.length === 3, 'the commands');
    expect(receiveNow(peer)).toEqual(
      Buffer.concat([1, 2, 3].map((id) => rawMessage(id, READ, Buffer.from([id]), REPLY))),
    );
    expect(sends).toBe(1);
  });

  it('answers later, in any order, with a ticket', async () => {
    const { connection, handler, client } = withClient();
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
    const { connection, handler, client } = withClient();
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
    const { connection, handler, client } = withClient();
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
    const { connection, handler, client } = withClient();
    const fd = memfd();
    cleanup.push(() => native.close(fd));
    handler.onCommand = (message) => {
      reply(connection, message, Buffer.from('half-done'));
      connection.attachFds([fd]);
      throw new Refusal(Errno.EBUSY);
    };
    expect((await client.request(READ)).fds).toEqual([]);
  });

  it('answers a bug of the handler with EIO and reports it', async () => {
    const { handler, client } = withClient();
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
    const { connection, handler, client } = withClient();
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
    const { connection, handler, client } = withClient();
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
    const { connection, handler, client } = withClient({ maxMessage: 1 << 20 });
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
    const { connection, handler, client } = withClient();
    handler.onCommand = (message) => reply(connection, message, Buffer.alloc(0));
    const bytes = rawMessage(100, READ, Buffer.alloc(0));
    spoil(bytes);
    client.send(bytes);
    expect(await client.reply(100)).toMatchObject({ flags: ERROR_REPLY, error: errno });
    expect(await client.request(READ)).toMatchObject({ flags: REPLY });
  });

  it('answers a message that is too long with EMSGSIZE, skips it and goes on', async () => {
    const { connection, handler, client } = withClient({ maxMessage: 1024 });
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
    const { handler, client } = withClient();
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

describe('Connection: requests', () => {
  it('matches replies that come in another order', async () => {
    const { connection, client } = withClient();
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
    const { connection, peer } = withPeer();
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
    const { connection, peer } = withPeer();
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
    const { connection, handler, client } = withClient();
    handler.onCommand = (message) => reply(connection, message, Buffer.alloc(0));
    client.send(rawMessage(77, READ, Buffer.alloc(0), REPLY));
    expect(await client.request(READ)).toMatchObject({ flags: REPLY });
    expect(handler.reports).toMatchObject([{ code: 'ERR_FRAMING', context: { id: 77 } }]);
  });

  it('times out, drops the late reply, and goes on', async () => {
    const { connection, handler, client } = withClient();
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

  it('asks again from inside a completion', async () => {
    const { connection, client } = withClient();
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
    const { connection, client } = withClient();
    connection.request(WRITE, 0, 1000, null);
    expect(await client.next()).toMatchObject({ command: WRITE, flags: NO_REPLY });
    expect(connection.outstanding).toBe(0);
  });

  it('refuses requests when the peer takes none, and says when it takes them again', async () => {
    const { connection, peer } = withPeer({ maxMessage: 64 * 1024 });
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
    const { connection } = withPeer();
    let drained = false;
    connection.whenDrained(() => {
      drained = true;
    });
    expect(drained).toBe(false);
    await Promise.resolve();
    expect(drained).toBe(true);
  });

  it('takes no more requests than there are ids for', () => {
    const { connection } = withPeer({ maxMessage: 1 << 20 });
    let count = 0;
    for (; connection.hasRoom(0) && count < 70_000; count += 1) connection.request(READ, 0, 5000, () => {});
    expect(count).toBe(32 * 1024);
    expect(() => connection.request(READ, 0, 5000, () => {})).toThrow(
      expect.objectContaining({ code: 'ERR_SEND_QUEUE_FULL' }),
    );
  });
});

describe('Connection: holds', () => {
  it('keeps commands in order, posted ones too, and handles them on release', async () => {
    const { connection, handler, client } = withClient();
    handler.onCommand = (message) => reply(connection, message, Buffer.from([message.id]));
    connection.hold();
    client.post(WRITE, Buffer.from('a'), NO_REPLY);
    client.post(READ, Buffer.from('b'));
    client.post(WRITE, Buffer.from('c'), NO_REPLY);
    await until(() => connection.heldCommands === 3, 'the commands');
    expect(handler.commands).toEqual([]);
    expect(connection.heldSince).not.toBeNull();
    client.post(READ, Buffer.from('d'));
    connection.release();
    await until(() => handler.commands.length === 4, 'all commands');
    expect(handler.commands.map(({ payload }) => payload.toString())).toEqual(['a', 'b', 'c', 'd']);
    expect([(await client.next()).id, (await client.next()).id]).toEqual([2, 4]);
    expect(connection.heldSince).toBeNull();
  });

  it('matches replies while it holds commands', async () => {
    const { connection, handler, client } = withClient();
    let answered = false;
    connection.hold();
    connection.request(READ, 0, 1000, () => {
      answered = true;
    });
    const { id } = await client.next();
    client.post(WRITE);
    client.send(rawMessage(id, READ, Buffer.alloc(0), REPLY));
    await until(() => answered, 'the reply');
    expect(handler.commands).toEqual([]);
  });

  it('parks the command that the handler does not want now, and everything behind it', async () => {
    const { connection, handler, client } = withClient();
    let ready = false;
    handler.onCommand = (message) => {
      if (!ready && message.command === WRITE) return false;
      return reply(connection, message, Buffer.alloc(0));
    };
    const ids = [client.post(READ), client.post(WRITE), client.post(READ)];
    await client.reply(ids[0] ?? 0);
    await until(() => connection.heldCommands === 2, 'parking');
    expect(connection.holding).toBe(true);
    connection.release();
    expect(connection.heldCommands).toBe(2);
    expect(connection.holding).toBe(true);
    ready = true;
    connection.release();
    expect([(await client.next()).id, (await client.next()).id]).toEqual(ids.slice(1));
    expect(handler.ids).toEqual([1, 2, 2, 2, 3]);
  });

  it('may be released by the handler itself', async () => {
    const { connection, handler, client } = withClient();
    const order: number[] = [];
    handler.onCommand = (message) => {
      order.push(message.id);
      if (message.id === 1) {
        connection.hold();
        return true;
      }
      return true;
    };
    client.send(Buffer.concat([1, 2, 3].map((id) => rawMessage(id, WRITE, Buffer.alloc(0), NO_REPLY))));
    await until(() => connection.heldCommands === 2, 'the hold');
    handler.onCommand = (message) => {
      order.push(message.id);
      if (message.id === 2) connection.release();
      return true;
    };
    connection.release();
    await until(() => order.length === 3, 'all');
    expect(order).toEqual([1, 2, 3]);
  });

  it('keeps the fds of parked commands, gives them on release, and closes those that are left', async () => {
    const { connection, handler, client } = withClient();
    const taken: number[] = [];
    connection.hold();
    const fd = memfd();
    client.post(2, Buffer.alloc(32), 0, [fd]);
    client.post(2, Buffer.alloc(32), 0, [fd]);
    native.close(fd);
    await until(() => connection.heldCommands === 2, 'the commands');
    handler.onCommand = (message) => {
      if (taken.length === 0) taken.push(...message.takeFds());
      return true;
    };
    connection.release();
    expect(handler.commands.map(({ fds }) => fds.length)).toEqual([1, 1]);
    for (const each of taken) expect(native.close(each)).toBe(0);
  });

  it('refuses what is parked with an errno, and counts what was posted', async () => {
    const { connection, handler, client } = withClient();
    connection.hold();
    const fd = memfd();
    const ids = [
      client.post(2, Buffer.alloc(32), 0, [fd]),
      client.post(WRITE, Buffer.alloc(0), NO_REPLY),
      client.post(READ),
    ];
    native.close(fd);
    await until(() => connection.heldCommands === 3, 'the commands');
    expect(connection.refuseHeld(Errno.EBUSY)).toBe(1);
    for (const id of [ids[0] ?? 0, ids[2] ?? 0]) {
      expect(await client.reply(id)).toMatchObject({ flags: ERROR_REPLY, error: Errno.EBUSY });
    }
    expect(handler.commands).toEqual([]);
    expect(connection.heldCommands).toBe(0);
  });

  it('gives what is parked to an owner that outlives it', async () => {
    const { connection, client } = withClient();
    connection.hold();
    const fd = memfd();
    client.post(2, Buffer.from('map'), 0, [fd]);
    native.close(fd);
    await until(() => connection.heldCommands === 1, 'the command');
    const [held] = connection.takeHeld();
    connection.close();
    expect(held?.bytes.subarray(16)).toEqual(new Uint8Array(Buffer.from('map')));
    for (const each of held?.fds ?? []) expect(native.close(each)).toBe(0);
  });

  it('stops reading when too much is parked, and goes on when it is released', async () => {
    const { connection, handler, peer } = withPeer({ maxMessage: 64 * 1024 });
    connection.hold();
    const message = rawMessage(1, WRITE, Buffer.alloc(32 * 1024), NO_REPLY);
    let sent = 0;
    const push = (): void => {
      for (let taken = 1; taken > 0; ) {
        const at = sent % message.length;
        taken = native.send(peer, message, at, message.length - at, null, 0, 0, null);
        sent += Math.max(0, taken);
      }
    };
    for (let quiet = 0, last = -1; quiet < 5; quiet = sent === last ? quiet + 1 : 0) {
      last = sent;
      push();
      await pause(2);
    }
    const parked = connection.heldCommands;
    expect(parked).toBeGreaterThanOrEqual(64);
    expect(parked).toBeLessThan(70);
    connection.release();
    await until(() => {
      push();
      return handler.commands.length > 2 * parked;
    }, 'reading to go on');
  });
});

describe('Connection: a peer that does not read', () => {
  it('stops handling its commands instead of keeping their replies, and goes on when it reads', async () => {
    const { connection, handler, peer } = withPeer({ maxMessage: 64 * 1024 });
    handler.onCommand = (message) => reply(connection, message, Buffer.alloc(32 * 1024, message.id));
    const total = 400;
    const ids = Array.from({ length: total }, (_, i) => i + 1);
    sendAll(peer, Buffer.concat(ids.map((id) => rawMessage(id, READ, Buffer.alloc(16)))));
    await pause(30);
    const handled = handler.commands.length;
    expect(handled).toBeLessThan(30);
    expect(connection.out.pending).toBeLessThan(200 * 1024);
    const received: Buffer[] = [];
    await until(() => {
      received.push(receiveNow(peer) ?? Buffer.alloc(0));
      return handler.commands.length === total && connection.out.pending === 0;
    }, 'everything to be answered');
    received.push(receiveNow(peer) ?? Buffer.alloc(0));
    const bytes = Buffer.concat(received);
    const size = 16 + 32 * 1024;
    expect(bytes.length).toBe(total * size);
    expect(ids.map((_, i) => bytes.readUInt16LE(i * size))).toEqual(ids);
  });

  it('still matches replies', async () => {
    const { connection, handler, peer } = withPeer({ maxMessage: 64 * 1024 });
    handler.onCommand = (message) => reply(connection, message, Buffer.alloc(32 * 1024));
    let answered = false;
    connection.request(READ, 0, 5000, () => {
      answered = true;
    });
    const commands = Array.from({ length: 100 }, (_, i) => rawMessage(i + 1, WRITE, Buffer.alloc(0)));
    sendAll(peer, Buffer.concat([...commands, rawMessage(1, READ, Buffer.alloc(0), REPLY)]));
    await until(() => answered, 'the reply');
    expect(handler.commands.length).toBeLessThan(30);
  });
});

describe('Connection: the end', () => {
  it('fails requests in flight, and every later one, with the reason', async () => {
    const { connection, handler, client } = withClient();
    const outcomes: unknown[] = [];
    connection.request(READ, 0, 1000, (answer, error) => outcomes.push([answer, error?.code]));
    await client.next();
    client.close();
    await until(() => handler.reasons.length === 1, 'the end');
    expect(outcomes).toEqual([[null, 'ERR_CONNECTION_CLOSED']]);
    expect(connection.closedBecause).toBe(handler.reasons[0]);
    expect(() => connection.request(READ, 0, 1000, () => {})).toThrow(handler.reasons[0]);
    cleanup.splice(0);
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
    const { connection, handler, client } = withClient();
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
    const { connection } = withPeer({ maxMessage: 64 * 1024 });
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
    const { connection, handler, client } = withClient();
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
    const { connection, handler, client } = withClient();
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
    const { connection, handler, client } = withClient({ maxMessage: 1024 });
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
    expect(openFds().filter((entry) => entry.includes('memfd'))).toEqual([]);
  });

  it('does not give the fds of a skipped body to the message behind it', async () => {
    const { handler, client } = withClient({ maxMessage: 1024 });
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
    const { connection, client } = withClient();
    connection.hold();
    const fd = memfd();
    client.post(2, Buffer.alloc(32), 0, [fd]);
    native.close(fd);
    await until(() => connection.heldCommands === 1, 'the command');
    connection.close();
    expect(openFds().filter((entry) => entry.includes('memfd'))).toEqual([]);
  });

  it('gives up on a peer that sends more fds than a message can have, a few at a time', async () => {
    const { handler, peer } = withPeer({ maxMessage: 64 * 1024 });
    const fd = memfd();
    const message = rawMessage(1, 2, Buffer.alloc(60_000));
    const fds = Array.from({ length: 100 }, () => fd);
    for (let at = 0; at < 3; at += 1) sendAll(peer, message.subarray(at * 20, at * 20 + 20), fds);
    native.close(fd);
    await until(() => handler.reasons.length === 1, 'the end');
    expect(handler.reasons).toMatchObject([{ code: 'ERR_FRAMING', context: { limit: 253 } }]);
    expect(openFds().filter((entry) => entry.includes('memfd'))).toEqual([]);
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

describe('Connection: hands over a message', () => {
  it('in place, with all of its fds', async () => {
    const { handler, client } = withClient();
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
