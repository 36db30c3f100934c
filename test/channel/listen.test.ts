import { createHash } from 'node:crypto';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { crc32 } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encodeGreeting } from '../../src/channel/greeting.ts';
import { greetingOf, MIN_WINDOW } from '../../src/channel/greeting-rules.ts';
import {
  type Channel,
  type ChannelError,
  type ChannelListenOptions,
  connectChannel,
  type Endpoint,
  listenForChannels,
  type Message,
  parseEndpoint,
  type TlsIdentity,
} from '../../src/channel/index.ts';
import { NO_ID } from '../../src/channel/layout.ts';
import { openFds } from '../helpers/open-fds.ts';
import { until } from '../helpers/until.ts';
import { identities, join2, temporaryFolder } from './carriers.ts';
import { bytes, epoch, group } from './samples.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let own: Map<string, TlsIdentity>;
let foreign: Map<string, TlsIdentity>;
beforeAll(async () => {
  folder = await temporaryFolder();
  own = await identities(join(folder.path, 'own'), ['127.0.0.1', 'sender', 'receiver']);
  foreign = await identities(join(folder.path, 'foreign'), ['127.0.0.1', 'sender']);
}, 60_000);
afterAll(() => folder.remove());

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const tcp: Endpoint = { carrier: 'tcp', host: '127.0.0.1', port: 0 };
const tls: Endpoint = { ...tcp, carrier: 'tls' };
const unix = (): Endpoint => ({ carrier: 'unix', path: join(folder.path, 'channel.sock') });
const tlsSides = () => ({
  sender: { tls: identity(own, 'sender') },
  receiver: { tls: identity(own, '127.0.0.1') },
});

function identity(from: Map<string, TlsIdentity>, name: string): TlsIdentity {
  const found = from.get(name);
  if (found === undefined) throw new Error(`no certificate for ${name}`);
  return found;
}

const data: Message = { kind: 'DATA', device: 0 };
const code = (action: Promise<unknown>): Promise<string> =>
  action.then(
    () => 'no error',
    (error: ChannelError) => error.code,
  );

/** Listens until the test ends, and notes who was refused. */
async function listening(at: Endpoint, options: Partial<ChannelListenOptions> = {}) {
  const refused: string[] = [];
  const accepted: Channel[] = [];
  const listener = await listenForChannels(at, {
    ...{ role: 'receiver', group, epoch, handshakeMs: 60_000 },
    accepted: (channel) => accepted.push(channel),
    refused: (error) => refused.push(error.code),
    ...options,
  });
  cleanups.push(
    () => listener.close(),
    () => {
      for (const channel of accepted) channel.abort('the test is over');
    },
  );
  return { listener, endpoint: listener.endpoint, accepted, refused };
}

/** A plain connection to a listener. */
async function dial(endpoint: Endpoint): Promise<Socket> {
  const socket = endpoint.carrier === 'unix' ? connect(endpoint.path) : connect(endpoint.port, endpoint.host);
  socket.on('error', () => {});
  cleanups.push(() => socket.destroy());
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

const ended = (socket: Socket): Promise<unknown> =>
  new Promise((resolve) => {
    socket.once('close', resolve);
    socket.resume();
  });

/** A HELLO as a foreign hand would write it. */
function hello(
  details: Partial<Parameters<typeof greetingOf>[1]> & { role?: 'sender' | 'receiver' } = {},
): Uint8Array {
  const { role = 'sender', ...rest } = details;
  const session = 'c0'.repeat(16);
  const about = {
    kind: 'HELLO',
    index: 0,
    connections: 1,
    window: MIN_WINDOW,
    session,
    token: NO_ID,
    ...rest,
  } as const;
  return encodeGreeting(greetingOf({ role, group, epoch }, about), role, crc32);
}

describe.each<[string, () => Endpoint, number, () => { sender?: object; receiver?: object }]>([
  ['UNIX', unix, 1, () => ({})],
  ['TCP', () => tcp, 1, () => ({})],
  ['four TCP connections', () => tcp, 4, () => ({})],
  ['TLS', () => tls, 1, tlsSides],
  ['three TLS connections', () => tls, 3, tlsSides],
])('over %s', (_, at, connections, sides) => {
  it('everything arrives whole and in order, in both directions, and nothing is left open', async () => {
    const before = openFds().length;
    const options = sides();
    const pair = await join2(at(), { connections, ...options.sender }, options.receiver);
    const { sender, receiver, listener } = pair;
    const sums = [createHash('sha256'), createHash('sha256')] as const;
    let count = 0;
    receiver.receive((message, body) => {
      expect(message).toEqual({ kind: 'DATA', device: count });
      count += 1;
      sums[1].update(body);
      if (count % 16 === 0) receiver.send({ kind: 'SYNCED', id: count, bytes: 0n });
      return count % 7 === 0 ? new Promise((resolve) => setImmediate(resolve)) : undefined;
    });
    const back: number[] = [];
    sender.receive((message) => {
      if (message.kind === 'SYNCED') back.push(message.id);
    });
    for (let i = 0; i < 64; i += 1) {
      const body = bytes(1 + ((i * 104_729) % 900_000), i + 1);
      sums[0].update(body);
      await sender.send({ kind: 'DATA', device: i }, body);
      body.fill(0);
    }
    expect((await sender.close()).reason).toBe('closed');
    expect((await receiver.closed).reason).toBe('closed');
    expect([count, back]).toEqual([64, [16, 32, 48, 64]]);
    expect(sums[1].digest('hex')).toBe(sums[0].digest('hex'));
    expect(sender.statistics.connections).toHaveLength(connections);
    await listener.close();
    await until(() => openFds().length <= before);
  });

  it('a receiver that dies fails the sender', async () => {
    const options = sides();
    const { sender, receiver, listener } = await join2(
      at(),
      { connections, ...options.sender },
      options.receiver,
    );
    receiver.abort('killed');
    expect((await sender.closed).error?.code).toMatch(/^ERR_CHANNEL_(ABORTED|CUT)$/);
    await listener.close();
  });
});

it('tells who the other side is', async () => {
  const options = tlsSides();
  const { sender, receiver, listener } = await join2(tls, options.sender, options.receiver);
  expect(sender.peer).toMatchObject({
    role: 'receiver',
    carrier: 'tls',
    identity: '127.0.0.1',
    group,
    epoch,
  });
  expect(receiver.peer).toMatchObject({ role: 'sender', carrier: 'tls', identity: 'sender', group, epoch });
  sender.abort('done');
  await receiver.closed;
  await listener.close();
});

describe('a session', () => {
  it('can not be joined without its secret, nor ended from outside', async () => {
    const { endpoint, accepted, refused } = await listening(tcp);
    const session = 'd1'.repeat(16);
    const first = await dial(endpoint);
    const answer = new Promise<Buffer>((resolve) => first.once('data', resolve));
    first.write(hello({ session, connections: 2 }));
    await answer;
    for (const token of [NO_ID, 'ab'.repeat(16)]) {
      const intruder = await dial(endpoint);
      intruder.write(hello({ session, connections: 2, index: 1, token }));
      await ended(intruder);
    }
    // Nor can it be begun a second time.
    const twin = await dial(endpoint);
    twin.write(hello({ session, connections: 2 }));
    await ended(twin);
    expect([refused, accepted.length]).toEqual([Array(3).fill('ERR_CHANNEL_REFUSED'), 0]);
    const token = (await answer).subarray(36 + 29, 36 + 45).toString('hex');
    const second = await dial(endpoint);
    second.write(hello({ session, connections: 2, index: 1, token }));
    await until(() => accepted.length === 1);
  });

  it('can not be joined by another identity that knows its secret', async () => {
    const { endpoint, accepted, refused } = await listening(tls, { tls: identity(own, '127.0.0.1') });
    if (endpoint.carrier === 'unix') return;
    const open = (name: string) => {
      const { ca, cert, key } = identity(own, name);
      const socket = connectTls({ host: endpoint.host, port: endpoint.port, ca, cert, key });
      socket.on('error', () => {});
      cleanups.push(() => socket.destroy());
      return socket;
    };
    const first = open('sender');
    const answer = new Promise<Buffer>((resolve) => first.once('data', resolve));
    first.write(hello({ connections: 2 }));
    const token = (await answer).subarray(36 + 29, 36 + 45).toString('hex');
    const thief = open('receiver');
    thief.write(hello({ connections: 2, index: 1, token }));
    await ended(thief);
    expect([refused, accepted.length]).toEqual([['ERR_CHANNEL_REFUSED'], 0]);
  });

  it('that stays incomplete is given up', async () => {
    const { endpoint, refused } = await listening(tcp, { handshakeMs: 50 });
    const first = await dial(endpoint);
    first.write(hello({ connections: 2 }));
    await ended(first);
    expect(refused).toEqual(['ERR_CHANNEL_TIMEOUT']);
  });
});

it('does not mind features that it does not know', async () => {
  const { endpoint, accepted } = await listening(tcp);
  const about = { kind: 'HELLO', index: 0, connections: 1, window: MIN_WINDOW, token: NO_ID } as const;
  const greeting = greetingOf({ role: 'sender', group, epoch }, { ...about, session: 'c1'.repeat(16) });
  const socket = await dial(endpoint);
  socket.write(encodeGreeting({ ...greeting, features: 0xffff_fffe }, 'sender', crc32));
  await until(() => accepted.length === 1);
});

it('refuses another version of the format with words that say so', async () => {
  const { endpoint } = await listening(tcp);
  const about = { kind: 'HELLO', index: 0, connections: 1, window: MIN_WINDOW, token: NO_ID } as const;
  const greeting = greetingOf({ role: 'sender', group, epoch }, { ...about, session: 'c1'.repeat(16) });
  const socket = await dial(endpoint);
  const answer = new Promise<Buffer>((resolve) => socket.once('data', resolve));
  socket.write(encodeGreeting({ ...greeting, version: 2 }, 'sender', crc32));
  expect((await answer).toString()).toContain('the other side has version 2 of the channel, this one 1');
});

describe('a listener', () => {
  it.each<[string, Uint8Array, string]>([
    [
      'another protocol',
      new TextEncoder().encode('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
      'ERR_CHANNEL_VERSION',
    ],
    ['a few wrong bytes', Buffer.from('\x89PNG', 'latin1'), 'ERR_CHANNEL_VERSION'],
    ['a changed HELLO', hello().with(50, 0xff), 'ERR_CHANNEL_CHECKSUM'],
    ['another receiver', hello({ role: 'receiver' }), 'ERR_CHANNEL_REFUSED'],
    ['no connections', hello({ connections: 0 }), 'ERR_CHANNEL_MALFORMED'],
    ['too many connections', hello({ connections: 200 }), 'ERR_CHANNEL_MALFORMED'],
    ['a connection beyond its number', hello({ index: 3, connections: 2 }), 'ERR_CHANNEL_MALFORMED'],
    ['a window that is too small', hello({ window: 1 }), 'ERR_CHANNEL_MALFORMED'],
    ['an unknown session', hello({ index: 1, connections: 2 }), 'ERR_CHANNEL_REFUSED'],
  ])('refuses %s and goes on', async (_, greeting, expected) => {
    const { endpoint, accepted, refused } = await listening(tcp);
    const socket = await dial(endpoint);
    socket.write(greeting);
    await ended(socket);
    expect(refused).toEqual([expected]);
    const channel = await connectChannel(endpoint, { role: 'sender', group, epoch });
    await until(() => accepted.length === 1);
    channel.abort('done');
  });

  it('gives up on whoever says nothing, or stops in the middle', async () => {
    const { endpoint, refused } = await listening(tcp, { handshakeMs: 50 });
    const silent = await dial(endpoint);
    const slow = await dial(endpoint);
    slow.write(hello().subarray(0, 40));
    await Promise.all([ended(silent), ended(slow)]);
    expect(refused).toEqual(['ERR_CHANNEL_TIMEOUT', 'ERR_CHANNEL_TIMEOUT']);
  });

  it('takes no more connections than it was told', async () => {
    const { endpoint } = await listening(tcp, { maxWaiting: 2, handshakeMs: 30_000 });
    const waiting = [await dial(endpoint), await dial(endpoint)];
    await ended(await dial(endpoint));
    expect(waiting.every(({ closed }) => !closed)).toBe(true);
  });

  it('takes no more channels than it was told, until one has ended', async () => {
    const { endpoint, accepted } = await listening(tcp, { maxChannels: 1 });
    const first = await connectChannel(endpoint, { role: 'sender', group, epoch });
    expect(await code(connectChannel(endpoint, { role: 'sender', group, epoch }))).toBe(
      'ERR_CHANNEL_REFUSED',
    );
    first.abort('done');
    await accepted[0]?.closed;
    const second = await connectChannel(endpoint, { role: 'sender', group, epoch });
    second.abort('done');
  });

  it.each(['tcp:0.0.0.0:0', 'tcp:[::]:0'])('does not listen at %s without TLS', async (at) => {
    const listened = listenForChannels(at, { role: 'receiver', group, epoch, accepted: () => {} });
    expect(await code(listened)).toBe('ERR_CHANNEL_INSECURE');
  });

  it('needs certificates for TLS', async () => {
    const listened = listenForChannels(tls, { role: 'receiver', group, epoch, accepted: () => {} });
    expect(await code(listened)).toBe('ERR_CHANNEL_TLS');
  });
});

describe('a sender', () => {
  const sending = { role: 'sender', group, epoch, handshakeMs: 60_000 } as const;

  it('does not send to another machine without TLS', async () => {
    expect(await code(connectChannel('tcp:192.0.2.1:4711', sending))).toBe('ERR_CHANNEL_INSECURE');
  });

  it('learns that nobody is there', async () => {
    const { endpoint, listener } = await listening(tcp);
    await listener.close();
    expect(await code(connectChannel(endpoint, sending))).toBe('ERR_CHANNEL_CONNECT');
  });

  it('does not wait for ever for a side that does not answer', async () => {
    // It reads, or it would not notice that the other end has gone.
    const silent = createServer((socket) => void socket.resume().on('error', () => {}));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => new Promise((resolve) => silent.close(resolve)));
    const address = silent.address();
    if (typeof address !== 'object' || address === null) throw new Error('it listens');
    const at: Endpoint = { carrier: 'tcp', host: '127.0.0.1', port: address.port };
    const connecting = connectChannel(at, { ...sending, handshakeMs: 50 });
    expect(await code(connecting)).toBe('ERR_CHANNEL_TIMEOUT');
  });

  it.each<[string, () => TlsIdentity | undefined]>([
    ['has no certificate', () => undefined],
    ['has one of another authority', () => identity(foreign, 'sender')],
    ['trusts another authority', () => ({ ...identity(own, 'sender'), ca: identity(foreign, 'sender').ca })],
    ['wants to reach somebody else', () => ({ ...identity(own, 'sender'), peerName: 'other.example' })],
    ['is nobody', () => ({ ...identity(own, 'sender'), cert: '', key: '' })],
  ])('that %s gets no channel', async (_, whom) => {
    const { endpoint, accepted } = await listening(tls, { tls: identity(own, '127.0.0.1') });
    const who = whom();
    const connecting = connectChannel(endpoint, { ...sending, ...(who === undefined ? {} : { tls: who }) });
    expect(await code(connecting)).toMatch(/^ERR_CHANNEL_(TLS|CUT)$/);
    expect(accepted).toHaveLength(0);
  });

  it('that has the wrong name is refused by a receiver that wants another', async () => {
    const wanting = { ...identity(own, '127.0.0.1'), peerName: 'receiver' };
    const { endpoint, refused } = await listening(tls, { tls: wanting });
    const connecting = connectChannel(endpoint, { ...sending, tls: identity(own, 'sender') });
    expect(await code(connecting)).toMatch(/^ERR_CHANNEL_(TLS|CUT)$/);
    expect(refused).toEqual(['ERR_CHANNEL_TLS']);
  });

  it('without TLS gets nowhere with a receiver that has it', async () => {
    const { endpoint } = await listening(tls, { tls: identity(own, '127.0.0.1') });
    const plain = { ...endpoint, carrier: 'tcp' } as Endpoint;
    expect(await code(connectChannel(plain, sending))).toMatch(/^ERR_CHANNEL_/);
  });
});

it('keeps memory flat while the consumer is slow', async () => {
  const { sender, receiver, listener } = await join2(tcp, { compression: 'off' });
  let handled = 0;
  receiver.receive(async (_, body) => {
    handled += body.length;
    if (handled % (8 << 20) < body.length) await new Promise((resolve) => setTimeout(resolve, 5));
  });
  const body = bytes(1 << 20);
  let most = 0;
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 192; i += 1) {
    await sender.send(data, body);
    most = Math.max(most, process.memoryUsage.rss() - before);
  }
  await sender.close();
  expect(handled).toBe(192 << 20);
  expect(most).toBeLessThan(64 << 20);
  await listener.close();
});

it.each([
  ['unix', unix],
  ['tcp', () => tcp],
  ['tls', () => tls],
] as const)('hears over %s what was said together with the greeting, and what follows', async (_, at) => {
  const ready: Message = { kind: 'READY', group, epoch };
  const accepted = (channel: Channel): void => {
    void channel.send(ready);
    channel.receive(() => void channel.send({ kind: 'OPENED' }));
  };
  const { endpoint } = await listening(at(), { accepted, ...tlsSides().receiver });
  const sender = await connectChannel(endpoint, { role: 'sender', group, epoch, ...tlsSides().sender });
  const heard: string[] = [];
  sender.receive(({ kind }) => {
    heard.push(kind);
    if (heard.length < 4) void sender.send({ kind: 'OPEN' });
    else void sender.close();
  });
  expect(await sender.closed).toEqual({ reason: 'closed', error: null });
  expect(heard).toEqual(['READY', 'OPENED', 'OPENED', 'OPENED']);
});

it('tells a sender of the migration that it has asked for', async () => {
  const { endpoint } = await listening(unix(), { group: '0'.repeat(32), epoch: 0n });
  const sender = await connectChannel(endpoint, { role: 'sender', group, epoch });
  expect(sender.peer).toMatchObject({ role: 'receiver', group, epoch });
  sender.abort('that was all');
});

it.each<[string, Endpoint]>([
  ['unix:/run/x.sock', { carrier: 'unix', path: '/run/x.sock' }],
  ['./x.sock', { carrier: 'unix', path: './x.sock' }],
  ['tcp:host.example:4711', { carrier: 'tcp', host: 'host.example', port: 4711 }],
  ['tls:[2001:db8::1]:4711', { carrier: 'tls', host: '2001:db8::1', port: 4711 }],
  ['tls::4711', { carrier: 'tls', host: '127.0.0.1', port: 4711 }],
  ['localhost:4711', { carrier: 'tcp', host: 'localhost', port: 4711 }],
])('reads the address %s', (text, endpoint) => {
  expect(parseEndpoint(text)).toEqual(endpoint);
});

it.each([
  '',
  'tcp:',
  'tcp:host',
  'tcp:host:x',
  'tcp:host:65536',
  'tcp:2001:db8::1:4711',
  'tcp:[host:1',
  'http://x:1',
])('refuses the address %j', (text) => {
  if (text.includes('/')) return expect(parseEndpoint(text).carrier).toBe('unix');
  expect(() => parseEndpoint(text)).toThrow('is no address');
});
