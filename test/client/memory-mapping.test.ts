import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient, GuestMemory } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { fields, rawMessage, versionPayload } from '../helpers/raw-client.ts';
import { Cleanup, connectFake, FakeServer, LIBVFIO_USER_JSON, native, paired } from './fake-server.ts';

const cleanup = new Cleanup();
let before: string[] = [];
let memory: GuestMemory;
beforeEach(() => {
  before = openFds();
  memory = new GuestMemory(native);
});
afterEach(() => {
  cleanup.run();
  memory.close();
  expect(openFds()).toEqual(before);
});

describe('mapping guest memory', () => {
  it.each([
    ['mmap', 3, 1],
    ['file', 3 | 8, 1],
    ['message', 3, 0],
  ] as const)('for access by %s has flags %i and %i fds', async (access, flags, count) => {
    const { client, server } = await connectFake(cleanup);
    const region = memory.add({ iova: 0x1000n, size: 0x1000, access });
    const result = client.mapMemory(region);
    const request = await server.serve();
    await result;
    expect(Buffer.from(request.payload)).toEqual(fields(32, flags, 0n, 0x1000n, 0x1000n));
    expect(request.fds).toHaveLength(count);
    for (const fd of request.fds) native.close(fd);
  });

  it('gives the server the memory itself', async () => {
    const { client, server } = await connectFake(cleanup);
    const region = memory.add({ iova: 0x1000n, size: 0x1000 });
    const result = client.mapMemory(region);
    const [fd = -1] = (await server.serve()).fds;
    await result;
    expect(native.pwrite(fd, Buffer.from('device'), 0, 6, 100)).toBe(6);
    expect(Buffer.from(region.bytes.subarray(100, 106)).toString()).toBe('device');
    native.close(fd);
  });

  it('is refused for a region that is mapped already, before anything is sent', async () => {
    const { client, server } = await connectFake(cleanup);
    const region = memory.add({ iova: 0x1000n, size: 0x1000, access: 'message' });
    const other = new GuestMemory(native).add({ iova: 0x1800n, size: 0x100, access: 'message' });
    const first = client.mapMemory(region);
    for (const each of [region, other]) {
      await expect(client.mapMemory(each)).rejects.toMatchObject({ code: 'ERR_CLIENT_ARGUMENT' });
    }
    await server.serve();
    await first;
    expect(await server.raw.receives(() => true, 5)).toBe(false);
  });

  it('is undone when the server refuses it', async () => {
    const { client, server } = await connectFake(cleanup);
    const region = memory.add({ iova: 0x1000n, size: 0x1000, access: 'message' });
    const result = client.mapMemory(region);
    const caught = expect(result).rejects.toMatchObject({ errno: Errno.ENOSPC });
    server.refuse(await server.next(), Errno.ENOSPC);
    await caught;
    server.raw.send(rawMessage(1, 11, fields(0x1000n, 1n)));
    expect(await server.next()).toMatchObject({ error: Errno.EFAULT });
    const again = client.mapMemory(region);
    await server.serve();
    await again;
  });

  it('with an fd is refused for a server that takes none', async () => {
    const { client } = await connectFake(cleanup, '{"capabilities":{"max_msg_fds":0}}');
    const region = memory.add({ iova: 0x1000n, size: 0x1000 });
    await expect(client.mapMemory(region)).rejects.toMatchObject({ code: 'ERR_NOT_NEGOTIATED' });
  });

  it('happens right after the connection is made for the memory of the options', async () => {
    memory.add({ iova: 0x1000n, size: 0x1000 });
    memory.add({ iova: 0x8000n, size: 0x1000, access: 'message' });
    const { face, peer } = paired();
    const server = new FakeServer(peer);
    cleanup.add(() => server.close());
    const connecting = DeviceClient.connect('fake', { native: face, memory });
    await server.serve(versionPayload(0, 2, LIBVFIO_USER_JSON));
    const requests = [await server.serve(), await server.serve()];
    (await connecting).close();
    expect(requests.map(({ command, fds }) => [command, fds.length])).toEqual([
      [2, 1],
      [2, 0],
    ]);
    for (const fd of requests.flatMap(({ fds }) => fds)) native.close(fd);
  });

  it('fails the connection when the memory of the options is refused', async () => {
    memory.add({ iova: 0x8000n, size: 0x1000, access: 'message' });
    const { face, peer } = paired();
    const server = new FakeServer(peer);
    cleanup.add(() => server.close());
    const connecting = DeviceClient.connect('fake', { native: face, memory });
    const caught = expect(connecting).rejects.toMatchObject({ errno: Errno.ENOSPC, command: 2 });
    await server.serve(versionPayload(0, 2, LIBVFIO_USER_JSON));
    server.refuse(await server.next(), Errno.ENOSPC);
    await caught;
    await server.raw.waitClosed();
  });
});

describe('unmapping guest memory', () => {
  it.each([
    ['no bitmap', fields(24, 0, 0x1000n, 0x4000n)],
    ['a bitmap of another size', fields(56, 1, 0x1000n, 0x4000n, 4096n, 16n, 0n, 0n)],
    ['a bitmap cut off', fields(48, 1, 0x1000n, 0x4000n, 4096n, 8n, 0)],
    ['nothing', Buffer.alloc(0)],
  ])('refuses an answer with %s where a dirty bitmap was asked for', async (_, answer) => {
    const { client, server } = await connectFake(cleanup);
    const region = memory.add({ iova: 0x1000n, size: 0x4000, access: 'message' });
    const result = client.unmapMemory(region, { dirtyPageSize: 4096n });
    const caught = expect(result).rejects.toMatchObject({ code: 'ERR_PROTOCOL_MALFORMED' });
    await server.serve(answer);
    await caught;
  });

  it('does not ask for a bitmap that no answer can carry', async () => {
    const { client, server } = await connectFake(cleanup);
    const huge = { ...memory.add({ iova: 0n, size: 0x1000, access: 'message' }), size: 1n << 50n };
    await expect(client.unmapMemory(huge, { dirtyPageSize: 4096n })).rejects.toMatchObject({
      code: 'ERR_CLIENT_ARGUMENT',
    });
    await expect(client.dmaLog(0n, 1n << 50n, 4096n)).rejects.toMatchObject({ errno: Errno.EINVAL });
    expect(await server.raw.receives(() => true, 5)).toBe(false);
  });
});

describe('DMA logging', () => {
  it.each([
    ['another address', fields(40, 0x1_0008, 0x2000n, 0x4000n, 4096n, 0n)],
    ['another length', fields(40, 0x1_0008, 0x1000n, 0x2000n, 4096n, 0n)],
    ['another page size', fields(40, 0x1_0008, 0x1000n, 0x4000n, 8192n, 0n)],
    ['a bitmap too long', fields(48, 0x1_0008, 0x1000n, 0x4000n, 4096n, 0n, 0n)],
    ['no bitmap', fields(32, 0x1_0008, 0x1000n, 0x4000n, 4096n)],
  ])('refuses a report about %s', async (_, answer) => {
    const { client, server } = await connectFake(cleanup);
    const caught = expect(client.dmaLog(0x1000n, 0x4000n, 4096n)).rejects.toMatchObject({
      code: 'ERR_PROTOCOL_MALFORMED',
    });
    await server.serve(answer);
    await caught;
  });

  it.each([
    ['a page size that is no power of two', 5000n, [], Errno.EINVAL],
    ['a range that is not aligned', 4096n, [{ iova: 1n, length: 4096n }], Errno.EINVAL],
    [
      'ranges that overlap',
      4096n,
      [
        { iova: 0n, length: 8192n },
        { iova: 4096n, length: 4096n },
      ],
      Errno.EINVAL,
    ],
    [
      'too many ranges',
      4096n,
      Array.from({ length: 257 }, (_, i) => ({ iova: BigInt(i) << 12n, length: 4096n })),
      Errno.E2BIG,
    ],
  ])('is not started with %s', async (_, pageSize, ranges, errno) => {
    const { client } = await connectFake(cleanup);
    await expect(client.startDmaLogging(pageSize, ranges)).rejects.toMatchObject({ errno });
  });
});
