import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { MessageDmaPort } from '../../src/server/message-dma-port.ts';
import { Connection, EventLoopReactor, TransportError } from '../../src/transport/index.ts';
import { fields, RawClient, type RawMessage, rawMessage } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';

const { EINVAL, EIO, ENODEV, ETIMEDOUT } = Errno;
const DMA_READ = 11;
const DMA_WRITE = 12;
const REPLY = 1;
const ERROR = 0x21;

const native = loadNative();

function port(maxPiece: number) {
  const fds = new Int32Array(2);
  native.socketpair(fds);
  const [ours = -1, theirs = -1] = fds;
  const reactor = new EventLoopReactor(native);
  const connection = new Connection({
    native,
    reactor,
    fd: ours,
    maxMessage: 1024 * 1024 + 256,
    handler: { command: () => true, closed() {}, report() {} },
  });
  return { dma: new MessageDmaPort(connection, reactor, maxPiece), connection, theirs };
}

/** What a DMA message asks for. */
function asked(message: RawMessage) {
  const payload = Buffer.from(message.payload);
  return {
    command: message.command,
    address: payload.readBigUInt64LE(0),
    count: Number(payload.readBigUInt64LE(8)),
    data: payload.subarray(16),
  };
}

/** The guest's byte at an address. */
function byteAt(address: bigint): number {
  return Number((address * 7n) & 0xffn);
}

function guestBytes(address: bigint, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => byteAt(address + BigInt(i)));
}

describe('DMA by message', () => {
  let world: ReturnType<typeof port> & { readonly client: RawClient };
  const open = (maxPiece: number) => {
    if (world !== undefined) close();
    const made = port(maxPiece);
    world = { ...made, client: new RawClient(made.theirs) };
    return world;
  };
  const close = (): void => {
    world.connection.close();
    world.client.close();
  };
  beforeEach(() => {
    open(4096);
  });
  afterEach(() => {
    vi.useRealTimers();
    if (!world.client.closed) close();
  });

  /** Answers a DMA_READ with what the guest has there. */
  const answerRead = (message: RawMessage): void => {
    const { address, count } = asked(message);
    const payload = fields(address, BigInt(count), guestBytes(address, count));
    world.client.send(rawMessage(message.id, DMA_READ, payload, REPLY));
  };
  const take = async (count: number): Promise<RawMessage[]> => {
    const messages: RawMessage[] = [];
    while (messages.length < count) messages.push(await world.client.next());
    return messages;
  };

  it('of what fits into one message takes one', async () => {
    const reading = world.dma.read(0x1000n, 4096);
    const message = await world.client.next();
    expect(asked(message)).toMatchObject({ command: DMA_READ, address: 0x1000n, count: 4096 });
    expect(message.payload).toHaveLength(16);
    expect(message.flags).toBe(0);
    answerRead(message);
    expect(await reading).toEqual(guestBytes(0x1000n, 4096));
  });

  it('of nothing takes none', async () => {
    expect(await world.dma.read(0x1000n, 0)).toHaveLength(0);
    await world.dma.write(0x1000n, new Uint8Array(0));
    expect(await world.client.receives(() => true, 10)).toBe(false);
  });

  it('is cut to what the client takes, and put together whatever order the answers come in', async () => {
    const reading = world.dma.read(0x1001n, 10_000);
    const messages = await take(3);
    expect(messages.map(asked).map(({ address, count }) => [address, count])).toEqual([
      [0x1001n, 4096],
      [0x2001n, 4096],
      [0x3001n, 1808],
    ]);
    for (const message of messages.toReversed()) answerRead(message);
    expect(await reading).toEqual(guestBytes(0x1001n, 10_000));
  });

  it('works one byte at a time', async () => {
    const { dma } = open(1);
    const reading = dma.read(0x1000n, 100);
    for (let i = 0; i < 100; i += 1) {
      const message = await world.client.next();
      expect(asked(message)).toMatchObject({ address: 0x1000n + BigInt(i), count: 1 });
      answerRead(message);
    }
    expect(await reading).toEqual(guestBytes(0x1000n, 100));
  });

  it('keeps a bounded number of pieces in flight, however many there are', async () => {
    const { dma, connection } = open(1);
    const reading = dma.read(0n, 100_000);
    reading.catch(() => {});
    await settle(5);
    expect(connection.outstanding).toBe(32);
    for (const message of await take(10)) answerRead(message);
    await settle(5);
    expect(connection.outstanding).toBe(32);
    expect((await take(32)).map((message) => asked(message).address)).toContain(41n);
  });

  it('writes what it is given, piece by piece, and takes both forms of the reply', async () => {
    const data = guestBytes(0x8000n, 5000);
    const writing = world.dma.write(0x8000n, data);
    const [first, second] = await take(2);
    if (first === undefined || second === undefined) throw new Error('no messages');
    expect(asked(first)).toMatchObject({ command: DMA_WRITE, address: 0x8000n, count: 4096 });
    expect(asked(second)).toMatchObject({ command: DMA_WRITE, address: 0x9000n, count: 904 });
    expect(Buffer.concat([asked(first).data, asked(second).data])).toEqual(Buffer.from(data));
    world.client.send(rawMessage(first.id, DMA_WRITE, fields(0x8000n, 4096n), REPLY));
    world.client.send(rawMessage(second.id, DMA_WRITE, fields(0x9000n, 904), REPLY));
    await writing;
  });

  it.each([
    ['ENODEV', ENODEV, ENODEV],
    ['no errno', 0, EIO],
  ])('fails with what the client says: %s', async (_, said, errno) => {
    const reading = world.dma.read(0x1000n, 16);
    const { id } = await world.client.next();
    world.client.send(rawMessage(id, DMA_READ, fields(), ERROR, said));
    await expect(reading).rejects.toMatchObject({ code: 'ERR_REMOTE_DMA', errno });
  });

  const wrong: readonly (readonly [string, (address: bigint) => Buffer, number])[] = [
    ['fewer bytes', (address) => fields(address, 8n, new Uint8Array(8)), EIO],
    ['more bytes', (address) => fields(address, 17n, new Uint8Array(17)), EIO],
    ['another address', (address) => fields(address + 1n, 16n, new Uint8Array(16)), EIO],
    ['less data than it says', (address) => fields(address, 16n, new Uint8Array(15)), EINVAL],
    ['no payload', () => fields(), EINVAL],
  ];
  it.each(wrong)('fails when the answer has %s, and the connection goes on', async (_, payload, errno) => {
    const reading = world.dma.read(0x1000n, 16);
    const { id } = await world.client.next();
    world.client.send(rawMessage(id, DMA_READ, payload(0x1000n), REPLY));
    await expect(reading).rejects.toMatchObject({ errno });
    const again = world.dma.read(0x1000n, 4);
    answerRead(await world.client.next());
    expect(await again).toEqual(guestBytes(0x1000n, 4));
  });

  it('that fails starts no more pieces, and is not over before those under way are', async () => {
    const { dma } = open(1);
    let over = false;
    const reading = dma.read(0n, 1000).finally(() => {
      over = true;
    });
    reading.catch(() => {});
    const [first, ...others] = await take(32);
    world.client.send(rawMessage(first?.id ?? 0, DMA_READ, fields(), ERROR, ENODEV));
    await settle(5);
    expect(over).toBe(false);
    for (const message of others) answerRead(message);
    await expect(reading).rejects.toMatchObject({ errno: ENODEV });
    expect(await world.client.receives(() => true, 5)).toBe(false);
  });

  it('ends with the connection', async () => {
    const { dma, connection } = world;
    const reading = dma.read(0x1000n, 16);
    expect(dma.connected).toBe(true);
    connection.close(new TransportError('ERR_CONNECTION_LOST', 'the peer vanished'));
    await expect(reading).rejects.toMatchObject({ code: 'ERR_CONNECTION_LOST' });
    expect(dma.connected).toBe(false);
    await expect(dma.write(0x1000n, new Uint8Array(4))).rejects.toMatchObject({
      code: 'ERR_CONNECTION_LOST',
    });
  });

  it('waits 5 s for an answer and no longer; one that comes later is ignored', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const reading = world.dma.read(0x1000n, 16);
    const outcome = expect(reading).rejects.toMatchObject({ errno: ETIMEDOUT });
    await vi.advanceTimersByTimeAsync(5050);
    await outcome;
    vi.useRealTimers();
    answerRead(await world.client.next());
    const again = world.dma.read(0x2000n, 4);
    answerRead(await world.client.next());
    expect(await again).toEqual(guestBytes(0x2000n, 4));
  });

  it('of more than the socket takes waits for the client to read, and loses nothing', async () => {
    const { dma } = open(1024 * 1024);
    const data = new Uint8Array(8 * 1024 * 1024).map((_, i) => i >> 12);
    const writing = dma.write(0n, data);
    const arrived = new Uint8Array(data.length);
    for (let done = 0; done < data.length; ) {
      const message = await world.client.next();
      const { address, count, data: piece } = asked(message);
      arrived.set(piece, Number(address));
      done += count;
      world.client.send(rawMessage(message.id, DMA_WRITE, fields(address, BigInt(count)), REPLY));
    }
    await writing;
    expect(Buffer.compare(arrived, data)).toBe(0);
  });

  it('to a client that reads nothing at all gives up after 5 s', async () => {
    const { dma, connection, theirs } = port(1024 * 1024);
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const writing = dma.write(0n, new Uint8Array(16 * 1024 * 1024));
    const outcome = expect(writing).rejects.toMatchObject({ errno: ETIMEDOUT });
    await vi.advanceTimersByTimeAsync(5050);
    await outcome;
    connection.close();
    native.close(theirs);
  });
});
