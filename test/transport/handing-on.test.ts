import { afterEach, expect, it } from 'vitest';
import { loadNative } from '../../src/native/index.ts';
import {
  Connection,
  type ConnectionHandler,
  EventLoopReactor,
  type IncomingMessage,
} from '../../src/transport/index.ts';
import { RawClient, rawMessage } from '../helpers/raw-client.ts';
import { Bench, Recorder, receiveNow, reply, sendAll, until } from './support.ts';

const native = loadNative();
const reactor = new EventLoopReactor(native);
const SET_UP: { close(): void }[] = [];
const bench = new Bench();

afterEach(() => {
  bench.clear();
  for (const one of SET_UP.splice(0)) one.close();
});

interface Seen {
  readonly id: number;
  readonly text: string;
  readonly fds: number;
}

/** A server's end that answers every command with its own payload, parks what it is told to, and notes what it saw. */
function echo(
  fd: number,
  seen: Seen[],
  inherited?: ReturnType<Connection['remains']>,
  parks = false,
): Connection {
  const handler: ConnectionHandler = {
    command: (message: IncomingMessage) => {
      if (parks) return false;
      seen.push({ id: message.id, text: Buffer.from(message.payload()).toString(), fds: message.fds.length });
      const at = connection.reply(message, message.length);
      if (at >= 0) connection.out.bytes.set(message.payload(), at);
      return true;
    },
    closed: () => {},
    report: () => {},
  };
  const options = { native, reactor, fd, handler, maxMessage: 64 * 1024 };
  const connection: Connection = new Connection(
    inherited === undefined ? options : { ...options, inherited },
  );
  return connection;
}

function pair(): { client: RawClient; fd: number } {
  const fds = new Int32Array(2);
  native.socketpair(fds);
  const client = new RawClient(fds[0] ?? -1);
  SET_UP.push(client);
  return { client, fd: fds[1] ?? -1 };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Hands the connection on within this process, as another one would take it. */
function handOn(first: Connection, seen: Seen[]): Connection {
  const remains = first.remains();
  const copy = native.dup(first.fd);
  const own = {
    ...remains,
    unread: {
      ...remains.unread,
      fdSets: remains.unread.fdSets.map(({ at, fds }) => ({ at, fds: fds.map((fd) => native.dup(fd)) })),
    },
  };
  first.abandon();
  const next = echo(copy, seen, own);
  SET_UP.push(next);
  return next;
}

const command = (id: number, text: string) => rawMessage(id, 9, Buffer.from(text));

it.each([0, 1, 15, 16, 17, 20])('goes on with a message of which %i bytes had come', async (cut) => {
  const { client, fd } = pair();
  const seen: Seen[] = [];
  const first = echo(fd, seen);
  const whole = command(7, 'five!');
  if (cut > 0) client.send(whole.subarray(0, cut));
  await turn();
  first.freeze();
  expect(first.unfinished).toBeNull();
  const next = handOn(first, seen);
  client.send(whole.subarray(cut));
  await turn();
  expect(seen).toEqual([]);
  next.thaw();
  expect(Buffer.from((await client.reply(7)).payload).toString()).toBe('five!');
  expect(seen).toHaveLength(1);
});

it('hands on commands that wait, with the descriptors that came with them, in order', async () => {
  const { client, fd } = pair();
  const seen: Seen[] = [];
  const first = echo(fd, seen, undefined, true);
  const event = native.eventfd(0);
  client.send(command(1, 'one'));
  client.send(command(2, 'two'), [event, event]);
  client.send(Buffer.concat([command(3, 'three'), command(4, 'four').subarray(0, 9)]));
  await turn();
  await turn();
  expect(first.heldCommands).toBe(3);
  first.freeze();
  const next = handOn(first, seen);
  next.thaw();
  client.send(command(4, 'four').subarray(9));
  await client.reply(4);
  expect(seen).toEqual([
    { id: 1, text: 'one', fds: 0 },
    { id: 2, text: 'two', fds: 2 },
    { id: 3, text: 'three', fds: 0 },
    { id: 4, text: 'four', fds: 0 },
  ]);
  native.close(event);
});

it('sends nothing while it is frozen, and goes on when it is thawed', async () => {
  const { client, fd } = pair();
  const seen: Seen[] = [];
  const first = echo(fd, seen);
  SET_UP.push(first);
  first.freeze();
  client.send(command(1, 'a'));
  await turn();
  expect(seen).toEqual([]);
  first.thaw();
  await client.reply(1);
});

it('hands on what a client has not read, with its descriptors, and the client reads whole messages', async () => {
  const { client, fd } = pair();
  const first = echo(fd, []);
  const sizes = Array.from({ length: 40 }, (_, i) => 30_000 + i);
  const socketBuffer = native.setSendBuffer(fd, 64 * 1024);
  expect(socketBuffer).toBeGreaterThan(0);
  const event = native.eventfd(0);
  // Nothing is read by the client meanwhile: its watch runs only when this function waits.
  let begun = 0;
  for (const size of sizes) {
    if (!first.hasRoom(size)) break;
    const at = first.reply({ id: begun, command: 9, noReply: false }, size);
    first.out.bytes.fill(begun, at, at + size);
    if (begun === 3) first.attachFds([event]);
    begun += 1;
  }
  first.freeze();
  const remains = first.remains();
  expect(remains.unsent.bytes.length).toBeGreaterThan(0);
  const copy = native.dup(first.fd);
  const own = {
    ...remains,
    unsent: {
      ...remains.unsent,
      fdMarks: remains.unsent.fdMarks.map((mark) => ({
        ...mark,
        fds: mark.fds.map((one) => native.dup(one)),
      })),
    },
  };
  first.abandon();
  const next = echo(copy, [], own);
  SET_UP.push(next);
  next.thaw();
  for (let id = 0; id < begun; id += 1) {
    const { payload, fds } = await client.reply(id);
    expect(payload).toHaveLength(30_000 + id);
    expect(payload.every((byte) => byte === id)).toBe(true);
    expect(fds).toHaveLength(id === 3 ? 1 : 0);
  }
  native.close(event);
});

it('hands on what a client has not read, and sends it no more, in a callback that a send would follow', async () => {
  const handler = new Recorder();
  const { connection, peer } = bench.withPeer({ handler, maxMessage: 64 * 1024 });
  const SIZE = 30_000;
  const read = await new Promise<Buffer | null>((resolve) => {
    handler.onCommand = (message) => {
      // One message after the other until the socket is full.
      for (; connection.out.pending === 0; connection.flush()) reply(connection, message, Buffer.alloc(SIZE));
      queueMicrotask(() => {
        connection.freeze();
        // There is room again, and the port's send is still to come.
        resolve(receiveNow(peer));
      });
      return true;
    };
    sendAll(peer, command(1, 'fill'));
  });
  await turn();
  expect(receiveNow(peer)).toHaveLength(0);
  const { bytes } = connection.remains().unsent;
  expect(((read?.length ?? 0) + bytes.length) % (16 + SIZE)).toBe(0);
  connection.thaw();
  expect(receiveNow(peer)).toEqual(Buffer.from(bytes));
});

it('goes on with the ids of its own requests', () => {
  const { fd } = pair();
  const first = echo(fd, []);
  first.request(11, 0, 1000, null);
  first.request(11, 0, 1000, null);
  first.freeze();
  const { ids } = first.remains();
  expect(ids.last).toBe(2);
  const next = handOn(first, []);
  const at = next.request(11, 0, 1000, null);
  expect(next.out.view.getUint16(at - 16, true)).toBe(3);
});

it('leaves nothing behind that keeps the process from ending, such as the clock of a request that was answered', async () => {
  const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  const { client, fd } = pair();
  const connection = echo(fd, []);
  const before = timers();
  let answers = 0;
  connection.request(11, 0, 60_000, () => (answers += 1));
  await turn();
  const asked = await client.next();
  client.send(rawMessage(asked.id, 11, Buffer.alloc(0), 1));
  await until(() => answers === 1);
  connection.freeze();
  expect(connection.unfinished).toBeNull();
  connection.abandon();
  expect(timers()).toBe(before);
});

it('refuses what is left over and is no messages', () => {
  const { fd } = pair();
  const unsent = { bytes: new Uint8Array(40), rest: 0, fdMarks: [] };
  const unread = { bytes: new Uint8Array(0), fdSets: [] };
  const inherited = { unread, unsent, ids: { last: 0, abandoned: [] } };
  expect(() => echo(fd, [], inherited)).toThrow(/no messages/);
});
