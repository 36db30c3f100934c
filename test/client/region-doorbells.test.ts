import { ftruncateSync, writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient, type RegionDoorbells } from '../../src/client/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { fields } from '../helpers/raw-client.ts';
import { serveForTest } from '../helpers/served.ts';
import { until } from '../helpers/until.ts';
import { BellDevice } from '../server/bell-device.ts';
import { Cleanup, connectFake, connectScripted, memfd, native, scriptedReply } from './fake-server.ts';

const cleanup = new Cleanup();
let before: string[] = [];
beforeEach(() => {
  before = openFds();
});
afterEach(() => {
  cleanup.run();
  expect(openFds()).toEqual(before);
});

const IO_FDS = 6;
const REGION = 2;
const NO_FD = 0xffff_ffff;
const SHADOW = 2;

/** An eventfd that the server sends and reads. */
function eventfd(): number {
  const fd = native.eventfd(0);
  cleanup.add(() => native.close(fd));
  return fd;
}

/** Memory that the server sends. */
function shared(): number {
  const fd = memfd(4096);
  cleanup.add(() => native.close(fd));
  return fd;
}

/** A sub-region of 48 bytes. */
function entry(values: {
  offset?: bigint;
  size?: bigint;
  fd?: number;
  type?: number;
  flags?: number;
  shadowFd?: number;
  shadowOffset?: bigint;
  datamatch?: bigint;
}): Buffer {
  const { offset = 0n, size = 4n, fd = 0, type = 0, flags = 0 } = values;
  const { shadowFd = NO_FD, shadowOffset = 0n, datamatch = 0n } = values;
  return fields(offset, size, fd, type, flags, shadowFd, shadowOffset, datamatch);
}

function reply(...entries: readonly Buffer[]): Buffer {
  return fields(16 + 48 * entries.length, 0, REGION, entries.length, ...entries);
}

/** What a client makes of a reply. */
async function opened(payload: Buffer, fds: readonly number[] | null = null): Promise<RegionDoorbells> {
  const { client, server } = await connectFake(cleanup);
  const result = client.openDoorbells(REGION);
  await server.serve(payload, fds);
  return result;
}

describe('the doorbells of a region', () => {
  it('are rung through their eventfds, with the value that they stand for', async () => {
    const theirs = [eventfd(), eventfd()] as const;
    const { doorbells, index } = await opened(
      reply(
        entry({ offset: 16n, fd: 1, flags: 1, datamatch: 7n }),
        entry({ offset: 32n, size: 2n, flags: 2 }),
      ),
      theirs,
    );
    expect(index).toBe(REGION);
    expect(doorbells).toMatchObject([
      { offset: 16n, size: 4n, type: 0, datamatch: 7n, ports: false, shadow: null },
      { offset: 32n, size: 2n, type: 0, datamatch: null, ports: true, shadow: null },
    ]);
    doorbells[0]?.ring();
    doorbells[0]?.ring(7n);
    doorbells[1]?.ring(99n);
    expect(theirs.map((fd) => native.eventfdRead(fd))).toEqual([1, 2]);
    expect(() => doorbells[0]?.ring(8n)).toThrow(expect.objectContaining({ code: 'ERR_CLIENT_ARGUMENT' }));
    expect(native.eventfdRead(theirs[1])).toBeLessThan(0);
  });

  it('leave their value in the memory that the server shares', async () => {
    const memory = shared();
    const bell = eventfd();
    const sizes = [1n, 2n, 4n, 8n];
    const { doorbells } = await opened(
      reply(
        ...sizes.map((size, i) =>
          entry({ size, fd: 1, type: SHADOW, shadowFd: 0, shadowOffset: 4096n - 32n + 8n * BigInt(i) }),
        ),
      ),
      [memory, bell],
    );
    const most = sizes.map((size) => (1n << (8n * size)) - 1n);
    for (const [i, value] of most.entries()) doorbells[i]?.ring(value);
    const left = Buffer.alloc(32);
    native.pread(memory, left, 0, 32, 4096 - 32);
    expect(sizes.map((_, i) => left.readBigUInt64LE(8 * i))).toEqual(most);
    expect(native.eventfdRead(bell)).toBe(4);
    expect(() => doorbells[0]?.ring(256n)).toThrow(expect.objectContaining({ code: 'ERR_CLIENT_ARGUMENT' }));
    expect(() => doorbells[0]?.ring(-1n)).toThrow(expect.objectContaining({ code: 'ERR_CLIENT_ARGUMENT' }));
  });

  it('are asked for again with the room that the server says it takes', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.openDoorbells(REGION);
    const count = 100;
    const first = await server.serve(fields(16 + 48 * count, 0, REGION, count));
    expect([first.command, Buffer.from(first.payload)]).toEqual([IO_FDS, fields(4096, 0, REGION, 0)]);
    const bell = eventfd();
    const entries = Array.from({ length: count }, (_, i) => entry({ offset: BigInt(4 * i) }));
    const second = await server.serve(reply(...entries), [bell]);
    expect(Buffer.from(second.payload).readUInt32LE(0)).toBe(16 + 48 * count);
    const { doorbells } = await result;
    expect(doorbells).toHaveLength(count);
    doorbells[99]?.ring();
    expect(native.eventfdRead(bell)).toBe(1);
  });

  it('without an eventfd, or of a kind that is no eventfd, are shown but not rung', async () => {
    const { doorbells } = await opened(reply(entry({ fd: NO_FD }), entry({ type: 1 })), [eventfd()]);
    expect(doorbells).toMatchObject([{ eventfd: null }, { type: 1 }]);
    for (const doorbell of doorbells) {
      expect(() => doorbell.ring()).toThrow(expect.objectContaining({ code: 'ERR_DEVICE_LACKS' }));
    }
  });

  it('have been rung when their counter is full', async () => {
    const bell = eventfd();
    const { doorbells } = await opened(reply(entry({})), [bell]);
    expect(writeSync(bell, new Uint8Array(new BigUint64Array([0xffff_ffff_ffff_fffen]).buffer))).toBe(8);
    expect(() => doorbells[0]?.ring()).not.toThrow();
  });

  it.each([
    ['a descriptor that did not come', [entry({ fd: 1 })]],
    ['memory that did not come', [entry({ type: SHADOW, shadowFd: 5 })]],
    ['memory without a descriptor', [entry({ type: SHADOW })]],
    ['a value off its alignment', [entry({ type: SHADOW, shadowFd: 0, shadowOffset: 2n })]],
    ['a value of no size', [entry({ type: SHADOW, shadowFd: 0, size: 3n })]],
    ['a value beyond the end of the memory', [entry({ type: SHADOW, shadowFd: 0, shadowOffset: 4096n })]],
    ['a value beyond all memory', [entry({ type: SHADOW, shadowFd: 0, shadowOffset: 1n << 60n })]],
  ])('are refused with %s, and nothing stays open', async (_, entries) => {
    const memory = shared();
    await expect(opened(reply(...entries), [memory])).rejects.toMatchObject({
      code: expect.stringMatching(/ERR_PROTOCOL_MALFORMED|ERR_DEVICE_LACKS/),
    });
  });

  it('are closed by themselves and with the client, and can not be rung then', async () => {
    const { client, server } = await connectFake(cleanup);
    const results = [client.openDoorbells(REGION), client.openDoorbells(REGION)];
    const bell = eventfd();
    for (const _ of results) await server.serve(reply(entry({})), [bell]);
    const [first, second] = await Promise.all(results);
    first?.close();
    first?.close();
    expect(() => first?.doorbells[0]?.ring()).toThrow(expect.objectContaining({ code: 'ERR_CLIENT_CLOSED' }));
    second?.doorbells[0]?.ring();
    client.close();
    expect(() => second?.doorbells[0]?.ring()).toThrow(
      expect.objectContaining({ code: 'ERR_CLIENT_CLOSED' }),
    );
    expect(native.eventfdRead(bell)).toBe(1);
  });

  it('survive memory that is cut off under them', async () => {
    const memory = shared();
    const { doorbells } = await opened(reply(entry({ fd: 1, type: SHADOW, shadowFd: 0 })), [
      memory,
      eventfd(),
    ]);
    expect(() => ftruncateSync(memory, 0)).toThrow();
    doorbells[0]?.ring(1n);
  });

  it('are given to a client that waits, too', () => {
    const bell = eventfd();
    const { client, send } = connectScripted(cleanup);
    send({ ...scriptedReply(2, IO_FDS, reply(entry({}))), fds: [bell] });
    client.openDoorbells(REGION).doorbells[0]?.ring();
    expect(native.eventfdRead(bell)).toBe(1);
  });
});

describe('the doorbells of a served device', () => {
  it('do what the writes do that they stand for', async () => {
    const device = new BellDevice();
    const served = serveForTest(device);
    cleanup.add(() => served.close());
    const client = await DeviceClient.connect(served.socketPath);
    cleanup.add(() => client.close());
    const { doorbells } = await client.openDoorbells(0);
    const at = (offset: bigint) => doorbells.find((doorbell) => doorbell.offset === offset);
    at(0n)?.ring();
    await until(() => device.written.length === 1);
    at(4n)?.ring(0xffff_ffffn);
    await until(() => device.written.length === 2);
    at(8n)?.ring((1n << 64n) - 1n);
    await until(() => device.written.length === 3);
    expect(device.written).toEqual([
      [0, 7],
      [4, 0xffff_ffff],
      [8, (1n << 64n) - 1n],
    ]);
    expect((await client.openDoorbells(2)).doorbells).toEqual([]);
    await expect(client.openDoorbells(3)).rejects.toMatchObject({ errno: 22 });
  });
});
