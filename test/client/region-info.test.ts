import { closeSync, ftruncateSync, openSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openFds } from '../helpers/open-fds.ts';
import { fields } from '../helpers/raw-client.ts';
import { Cleanup, connectFake, memfd, native } from './fake-server.ts';

const cleanup = new Cleanup();
let before: string[] = [];
beforeEach(() => {
  before = openFds();
});
afterEach(() => {
  cleanup.run();
  expect(openFds()).toEqual(before);
});

const MMAP = 7;
const MMAP_AND_CAPS = 15;
const u16s = (a: number, b: number): number => a | (b << 16);

/** A sparse mmap capability at offset 32 of the payload. */
function sparse(areas: readonly (readonly [bigint, bigint])[]): Buffer {
  return fields(u16s(1, 1), 0, areas.length, 0, ...areas.flat());
}

describe('region information', () => {
  it('names the whole region as mappable without a sparse capability', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.regionInfo(1);
    await server.serve(fields(32, MMAP, 1, 0, 0x4000n, 0x9000n));
    expect(await result).toMatchObject({
      fileOffset: 0x9000n,
      mappable: true,
      areas: [{ offset: 0n, size: 0x4000n }],
    });
  });

  it('names the areas of the sparse capability, among others', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.regionInfo(1);
    const type = fields(u16s(2, 1), 48, 0x8000_1234, 1);
    const areas = sparse([
      [0n, 0x1000n],
      [0x2000n, 0x1000n],
    ]);
    await server.serve(fields(96, MMAP_AND_CAPS, 1, 32, 0x4000n, 0n, type, areas));
    expect((await result).areas).toEqual([
      { offset: 0n, size: 0x1000n },
      { offset: 0x2000n, size: 0x1000n },
    ]);
  });

  it('is asked for again with the room that the server says it needs', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.regionInfo(1);
    const areas = Array.from({ length: 100 }, (_, i) => [BigInt(i * 2) << 12n, 0x1000n] as const);
    const size = 32 + 16 + 16 * areas.length;
    const fd = memfd(4096);
    const first = await server.serve(fields(size, MMAP, 1, 0, 0x100000n, 0n), [fd]);
    expect(Buffer.from(first.payload).readUInt32LE(0)).toBe(1024);
    const second = await server.serve(fields(size, MMAP_AND_CAPS, 1, 32, 0x100000n, 0n, sparse(areas)), [fd]);
    expect(Buffer.from(second.payload).readUInt32LE(0)).toBe(size);
    native.close(fd);
    expect((await result).areas).toHaveLength(100);
  });

  it('is not asked for a third time, nor with more room than a message has', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.regionInfo(1);
    for (const expected of [1024, (1 << 20) + 240]) {
      const request = await server.serve(fields(0xffff_ffff, MMAP, 1, 0, 0x4000n, 0n));
      expect(Buffer.from(request.payload).readUInt32LE(0)).toBe(expected);
    }
    expect((await result).areas).toEqual([{ offset: 0n, size: 0x4000n }]);
  });

  it.each([
    ['another region', fields(32, 3, 2, 0, 0x1000n, 0n)],
    ['an area outside the region', fields(64, MMAP_AND_CAPS, 1, 32, 0x1000n, 0n, sparse([[0n, 0x2000n]]))],
    ['a chain that loops', fields(48, MMAP_AND_CAPS, 1, 32, 0x1000n, 0n, u16s(9, 1), 32, 0n)],
    ['a chain that leaves the answer', fields(48, MMAP_AND_CAPS, 1, 400, 0x1000n, 0n, 0n, 0n)],
    [
      'more areas than there are',
      fields(64, MMAP_AND_CAPS, 1, 32, 0x1000n, 0n, u16s(1, 1), 0, 0xffff_ffff, 0, 0n, 0n),
    ],
  ])('refuses an answer about %s, and closes its fd', async (_, answer) => {
    const { client, server } = await connectFake(cleanup);
    const fd = memfd(4096);
    const caught = expect(client.regionInfo(1)).rejects.toMatchObject({ code: 'ERR_PROTOCOL_MALFORMED' });
    await server.serve(answer, [fd]);
    await caught;
    native.close(fd);
  });

  it('closes every fd that comes along', async () => {
    const { client, server } = await connectFake(cleanup);
    const fds = [memfd(4096), memfd(4096)];
    const result = client.regionInfo(1);
    await server.serve(fields(32, MMAP, 1, 0, 0x1000n, 0n), fds);
    await result;
    for (const fd of fds) native.close(fd);
  });
});

describe('mapping a region', () => {
  const areas = sparse([
    [0n, 0x1000n],
    [0x2000n, 0x1000n],
  ]);
  const answer = fields(80, MMAP_AND_CAPS, 1, 32, 0x4000n, 0x1000n, areas);

  it('shares the areas with the server, and detaches them when it is closed', async () => {
    const { client, server } = await connectFake(cleanup);
    const fd = memfd(0x5000);
    const result = client.mapRegion(1);
    await server.serve(answer, [fd]);
    const region = await result;
    expect(region.areas.map(({ offset, bytes }) => [offset, bytes.length])).toEqual([
      [0, 0x1000],
      [0x2000, 0x1000],
    ]);
    region.areas[1]?.bytes.set(Buffer.from('client'), 8);
    const seen = Buffer.alloc(6);
    native.pread(fd, seen, 0, 6, 0x1000 + 0x2000 + 8);
    expect(seen.toString()).toBe('client');
    region.close();
    region.close();
    expect(region.areas[0]?.bytes).toHaveLength(0);
    native.close(fd);
  });

  it('ends with the client', async () => {
    const { client, server } = await connectFake(cleanup);
    const fd = memfd(0x5000);
    const result = client.mapRegion(1);
    await server.serve(answer, [fd]);
    native.close(fd);
    const region = await result;
    client.close();
    expect(region.areas[0]?.bytes).toHaveLength(0);
  });

  it.each([
    ['without an fd', fields(32, MMAP, 1, 0, 0x1000n, 0n), false],
    ['of a region that can not be mapped', fields(32, 3, 1, 0, 0x1000n, 0n), true],
    ['of a region that is neither read nor written', fields(32, 4, 1, 0, 0x1000n, 0n), true],
    ['of no areas', fields(48, MMAP_AND_CAPS, 1, 32, 0x1000n, 0n, sparse([])), true],
    ['of a file that is too short', fields(32, MMAP, 1, 0, 0x100000n, 0n), true],
    ['of a file that ends before the region begins', fields(32, MMAP, 1, 0, 0x1000n, 0x5000n), true],
    ['beyond what a number holds', fields(32, MMAP, 1, 0, 0x1000n, 0xffff_ffff_ffff_f000n), true],
  ])('%s is refused, and leaves nothing behind', async (_, payload, withFd) => {
    const { client, server } = await connectFake(cleanup);
    const fd = memfd(0x5000);
    const caught = expect(client.mapRegion(1)).rejects.toMatchObject({ code: 'ERR_DEVICE_LACKS' });
    await server.serve(payload, withFd ? [fd] : null);
    await caught;
    native.close(fd);
  });

  it.each([
    ['area that is not aligned', fields(64, MMAP_AND_CAPS, 1, 32, 0x4000n, 0n, sparse([[0x10n, 0x1000n]]))],
    ['empty area', fields(64, MMAP_AND_CAPS, 1, 32, 0x4000n, 0n, sparse([[0n, 0n]]))],
  ])('an %s is refused, and leaves nothing behind', async (_, payload) => {
    const { client, server } = await connectFake(cleanup);
    const fd = memfd(0x5000);
    const caught = expect(client.mapRegion(1)).rejects.toMatchObject({ code: 'ERR_NATIVE' });
    await server.serve(payload, [fd]);
    await caught;
    native.close(fd);
  });

  it('survives a server that shrinks a file which can not be sealed', async () => {
    const { client, server } = await connectFake(cleanup);
    const path = join(tmpdir(), `ferry-shrinks-${process.pid}`);
    const fd = openSync(path, 'w+');
    unlinkSync(path);
    ftruncateSync(fd, 0x4000);
    const result = client.mapRegion(1);
    await server.serve(fields(32, MMAP, 1, 0, 0x4000n, 0n), [fd]);
    const region = await result;
    ftruncateSync(fd, 0);
    expect(region.areas[0]?.bytes[0x3000]).toBe(0);
    closeSync(fd);
  });
});
