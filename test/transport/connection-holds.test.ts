import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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

describe('Connection: holds', () => {
  it('keeps commands in order, posted ones too, and handles them on release', async () => {
    const { connection, handler, client } = bench.withClient();
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
    const { connection, handler, client } = bench.withClient();
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
    const { connection, handler, client } = bench.withClient();
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
    const { connection, handler, client } = bench.withClient();
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
    const { connection, handler, client } = bench.withClient();
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

  it('gives what is parked to an owner that outlives it', async () => {
    const { connection, client } = bench.withClient();
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
    const { connection, handler, peer } = bench.withPeer({ maxMessage: 64 * 1024 });
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
    const { connection, handler, peer } = bench.withPeer({ maxMessage: 64 * 1024 });
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
    const { connection, handler, peer } = bench.withPeer({ maxMessage: 64 * 1024 });
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
