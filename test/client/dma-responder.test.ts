import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DeviceClient, GuestMemory, type GuestRegion } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { fields, rawMessage } from '../helpers/raw-client.ts';
import { Cleanup, connectFake, type FakeServer, native } from './fake-server.ts';

const DMA_READ = 11;
const DMA_WRITE = 12;
const ERROR_REPLY = 0x21;
const NO_REPLY = 0x10;
const { EFAULT, EACCES, EINVAL, E2BIG, ENOSYS } = Errno;

const cleanup = new Cleanup();
let before: string[] = [];
let memory: GuestMemory;
let mapped: GuestRegion;
let byMessage: GuestRegion;
let client: DeviceClient;
let server: FakeServer;

beforeEach(async () => {
  before = openFds();
  memory = new GuestMemory(native);
  mapped = memory.add({ iova: 0x10000n, size: 0x1000 });
  byMessage = memory.add({ iova: 0x11000n, size: 0x100, access: 'message' });
  memory.add({ iova: 0x20000n, size: 0x100, access: 'message', writable: false });
  ({ client, server } = await connectFake(cleanup, undefined, { capabilities: { maxDataXferSize: 0x800 } }));
  for (const region of memory.regions) {
    const mapping = client.mapMemory(region);
    for (const fd of (await server.serve()).fds) native.close(fd);
    await mapping;
  }
});
afterEach(() => {
  cleanup.run();
  memory.close();
  expect(openFds()).toEqual(before);
});

async function dma(command: number, payload: Uint8Array, fds: readonly number[] | null = null) {
  server.raw.send(rawMessage(0x7777, command, payload), fds);
  return server.next();
}

describe('DMA messages of the server', () => {
  it('read guest memory, across regions that touch', async () => {
    mapped.bytes.set([1, 2], 0xffe);
    byMessage.bytes.set([3, 4, 5]);
    const reply = await dma(DMA_READ, fields(0x10ffen, 5n));
    expect(reply).toMatchObject({ id: 0x7777, command: DMA_READ, flags: 1, error: 0 });
    expect(Buffer.from(reply.payload)).toEqual(fields(0x10ffen, 5n, Buffer.from([1, 2, 3, 4, 5])));
  });

  it('write guest memory, across regions that touch, and say so in 16 bytes', async () => {
    const reply = await dma(DMA_WRITE, fields(0x10ffen, 5n, Buffer.from([9, 8, 7, 6, 5])));
    expect(Buffer.from(reply.payload)).toEqual(fields(0x10ffen, 5n));
    expect([...mapped.bytes.subarray(0xffd)]).toEqual([0, 9, 8]);
    expect([...byMessage.bytes.subarray(0, 4)]).toEqual([7, 6, 5, 0]);
  });

  it('may be of no bytes, and of as many as were agreed', async () => {
    expect(await dma(DMA_READ, fields(0x10000n, 0n))).toMatchObject({ flags: 1 });
    expect(await dma(DMA_WRITE, fields(0x10000n, 0n))).toMatchObject({ flags: 1 });
    expect((await dma(DMA_READ, fields(0x10000n, 0x800n))).payload).toHaveLength(16 + 0x800);
  });

  it.each([
    ['read of an address without memory', DMA_READ, fields(0x30000n, 1n), EFAULT],
    ['write to an address without memory', DMA_WRITE, fields(0x30000n, 1n, Buffer.alloc(1)), EFAULT],
    ['read that ends beyond its memory', DMA_READ, fields(0x110f0n, 0x11n), EFAULT],
    ['write that begins before its memory', DMA_WRITE, fields(0xffffn, 2n, Buffer.alloc(2)), EFAULT],
    ['read at the end of all addresses', DMA_READ, fields(0xffff_ffff_ffff_ffffn, 8n), EFAULT],
    [
      'write of memory that the device may only read',
      DMA_WRITE,
      fields(0x20000n, 1n, Buffer.alloc(1)),
      EACCES,
    ],
    ['read of more than was agreed', DMA_READ, fields(0x10000n, 0x801n), E2BIG],
    ['read of more than a number holds', DMA_READ, fields(0x10000n, 0xffff_ffff_ffff_ffffn), E2BIG],
    ['write of more than was agreed', DMA_WRITE, fields(0x10000n, 0x801n, Buffer.alloc(0x801)), E2BIG],
    ['read without a count', DMA_READ, fields(0x10000n), EINVAL],
    ['read with bytes behind it', DMA_READ, fields(0x10000n, 4n, Buffer.alloc(4)), EINVAL],
    ['write of fewer bytes than it says', DMA_WRITE, fields(0x10000n, 4n, Buffer.alloc(3)), EINVAL],
    ['write of more bytes than it says', DMA_WRITE, fields(0x10000n, 4n, Buffer.alloc(5)), EINVAL],
    ["command that is a client's", 4, fields(16, 0, 0, 0), ENOSYS],
    ['command that is none', 999, Buffer.alloc(0), ENOSYS],
  ])('a %s is refused, and nothing else happens', async (_, command, payload, errno) => {
    mapped.bytes.fill(0x55);
    expect(await dma(command, payload)).toMatchObject({
      flags: ERROR_REPLY,
      error: errno,
      payload: new Uint8Array(0),
    });
    expect(mapped.bytes.every((byte) => byte === 0x55)).toBe(true);
    expect(await dma(DMA_READ, fields(0x10000n, 1n))).toMatchObject({ flags: 1 });
  });

  it('with fds are refused, and the fds closed', async () => {
    const fd = native.eventfd(0);
    expect(await dma(DMA_READ, fields(0x10000n, 1n), [fd])).toMatchObject({ error: EINVAL });
    native.close(fd);
  });

  it('are done without a reply when none is wanted', async () => {
    server.raw.send(rawMessage(1, DMA_WRITE, fields(0x10000n, 1n, Buffer.from([0xaa])), NO_REPLY));
    expect(await dma(DMA_READ, fields(0x10000n, 1n))).toMatchObject({ id: 0x7777 });
    expect(mapped.bytes[0]).toBe(0xaa);
  });

  it('end with the mapping, but not before the server has given it up', async () => {
    const unmapping = client.unmapMemory(mapped);
    const request = await server.next();
    expect(await dma(DMA_READ, fields(0x10000n, 1n))).toMatchObject({ error: 0 });
    server.answer(request, fields(24, 0, 0x10000n, 0x1000n));
    await unmapping;
    expect(await dma(DMA_READ, fields(0x10000n, 1n))).toMatchObject({ error: EFAULT });
    const all = client.unmapAll();
    await server.serve(fields(24, 2, 0n, 0n));
    await all;
    expect(await dma(DMA_READ, fields(0x11000n, 1n))).toMatchObject({ error: EFAULT });
  });

  it('are served while requests of ours are under way, large ones too', async () => {
    const reading = client.read(0, 0, 8);
    const request = await server.next();
    for (let i = 0; i < 100; i += 1) await dma(DMA_WRITE, fields(0x10000n, 0x800n, Buffer.alloc(0x800, i)));
    server.answer(request, fields(0n, 0, 8, Buffer.from('register')));
    expect(Buffer.from(await reading).toString()).toBe('register');
    expect(mapped.bytes[0]).toBe(99);
  });
});
