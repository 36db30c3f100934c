import { afterEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { fields, type RawMessage } from '../helpers/raw-client.ts';
import { Cleanup, connectFake, FERRY_JSON, LIBVFIO_USER_JSON } from './fake-server.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const KiB = 1024;

/** Answers reads out of, and does writes to, a region of bytes until `count` requests have come. */
async function serveRegion(
  server: Awaited<ReturnType<typeof connectFake>>['server'],
  content: Buffer,
  count: number,
): Promise<RawMessage[]> {
  const requests: RawMessage[] = [];
  for (let i = 0; i < count; i += 1) {
    const request = await server.next();
    requests.push(request);
    const view = Buffer.from(request.payload);
    const [offset, length] = [Number(view.readBigUInt64LE(0)), view.readUInt32LE(12)];
    const head = view.subarray(0, 16);
    if (request.command === 9) {
      server.answer(request, Buffer.concat([head, content.subarray(offset, offset + length)]));
    } else {
      content.set(view.subarray(16), offset);
      server.answer(request, head);
    }
  }
  return requests;
}

const sizesOf = (requests: readonly RawMessage[]): number[] =>
  requests.map(({ payload }) => Buffer.from(payload).readUInt32LE(12));

describe('region accesses', () => {
  it('cut a long read to what was agreed', async () => {
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON, {
      capabilities: { maxDataXferSize: 1000 },
    });
    const content = Buffer.from(Uint8Array.from({ length: 2500 }, (_, i) => i % 251));
    const result = client.read(0, 0, 2500);
    const requests = await serveRegion(server, content, 3);
    expect(sizesOf(requests)).toEqual([1000, 1000, 500]);
    expect(Buffer.from(await result).equals(content)).toBe(true);
  });

  it.each([
    ['32 KiB for a server that is not Ferry', LIBVFIO_USER_JSON, {}, [32 * KiB, 32 * KiB, 6 * KiB]],
    ['what was agreed for Ferry', FERRY_JSON, {}, [70 * KiB]],
    ['what the caller says', FERRY_JSON, { maxWrite: 60 * KiB }, [60 * KiB, 10 * KiB]],
  ])('cut a long write to %s', async (_, json, options, expected) => {
    const { client, server } = await connectFake(cleanup, json, options);
    const data = Buffer.from(Uint8Array.from({ length: 70 * KiB }, (_, i) => i % 253));
    const content = Buffer.alloc(data.length);
    const result = client.write(1, 0, data);
    const requests = await serveRegion(server, content, expected.length);
    await result;
    expect(sizesOf(requests)).toEqual(expected);
    expect(content.equals(data)).toBe(true);
  });

  it('send nothing for nothing', async () => {
    const { client, server } = await connectFake(cleanup);
    expect(await client.read(0, 0, 0)).toEqual(new Uint8Array(0));
    await client.write(0, 0, new Uint8Array(0));
    await client.write(0, 0, new Uint8Array(0), { posted: true });
    expect(await server.raw.receives(() => true, 10)).toBe(false);
  });

  it('post writes: no answer is waited for, and the order is kept', async () => {
    const { client, server } = await connectFake(cleanup);
    await client.writeU32(0, 4, 1, { posted: true });
    await client.write(0, 8, Buffer.alloc(40 * KiB), { posted: true });
    const reading = client.readU8(0, 0);
    const messages = [await server.next(), await server.next(), await server.next(), await server.next()];
    expect(messages.map(({ command, flags }) => [command, flags])).toEqual([
      [10, 0x10],
      [10, 0x10],
      [10, 0x10],
      [9, 0],
    ]);
    expect(sizesOf(messages)).toEqual([4, 32 * KiB, 8 * KiB, 1]);
    const last = messages[3];
    if (last !== undefined) server.answer(last, fields(0n, 0, 1, Buffer.from([5])));
    expect(await reading).toBe(5);
  });

  it.each([
    ['fewer bytes', fields(0n, 0, 2, Buffer.alloc(2))],
    ['more bytes', fields(0n, 0, 8, Buffer.alloc(8))],
    ['a count that its bytes do not bear out', fields(0n, 0, 4, Buffer.alloc(3))],
    ['padding', fields(0n, 0, 4, Buffer.alloc(5))],
  ])('refuse an answer to a read with %s', async (_, payload) => {
    const { client, server } = await connectFake(cleanup);
    const result = client.readU32(0, 0);
    await Promise.all([
      expect(result).rejects.toMatchObject({ code: 'ERR_PROTOCOL_MALFORMED' }),
      server.serve(payload),
    ]);
  });

  it('refuse an answer to a write of fewer bytes', async () => {
    const { client, server } = await connectFake(cleanup, FERRY_JSON);
    const write = client.write(0, 0, Buffer.alloc(4));
    await Promise.all([
      expect(write).rejects.toMatchObject({ code: 'ERR_PROTOCOL_MALFORMED' }),
      server.serve(fields(0n, 0, 3)),
    ]);
    const many = client.writeMulti([{ region: 0, offset: 0, data: Buffer.alloc(1) }]);
    await Promise.all([
      expect(many).rejects.toMatchObject({ code: 'ERR_PROTOCOL_MALFORMED' }),
      server.serve(fields(0n)),
    ]);
  });

  it('cut many small writes to what one message may carry', async () => {
    const { client, server } = await connectFake(cleanup, FERRY_JSON, {
      capabilities: { maxDataXferSize: 60 },
    });
    const result = client.writeMulti(
      Array.from({ length: 5 }, (_, i) => ({ region: 0, offset: i, data: Buffer.from([i]) })),
    );
    const sizes: number[] = [];
    for (let i = 0; i < 3; i += 1) {
      const request = await server.next();
      const count = Buffer.from(request.payload).readBigUInt64LE(0);
      sizes.push(Number(count));
      server.answer(request, fields(count));
    }
    await result;
    expect(sizes).toEqual([2, 2, 1]);
  });

  it.each([
    ['a negative offset', -1],
    ['a fraction', 0.5],
    ['an offset that a number rounds', 2 ** 53],
    ['no number', Number.NaN],
    ['a negative bigint', -1n],
    ['an offset beyond 64 bits', 1n << 64n],
  ])('refuse %s before anything is sent', async (_, offset) => {
    const { client, server } = await connectFake(cleanup);
    const error = { errno: Errno.EINVAL };
    await expect(client.readU32(0, offset)).rejects.toMatchObject(error);
    await expect(client.write(0, offset, Buffer.alloc(1))).rejects.toMatchObject(error);
    await expect(client.write(0, offset, Buffer.alloc(1), { posted: true })).rejects.toMatchObject(error);
    expect(await server.raw.receives(() => true, 5)).toBe(false);
  });

  it('refuse lengths, values and regions that can not be sent', async () => {
    const { client, server } = await connectFake(cleanup, FERRY_JSON);
    const error = { errno: Errno.EINVAL };
    await expect(client.read(0, 0, -1)).rejects.toMatchObject(error);
    await expect(client.read(0, 0, 1.5)).rejects.toMatchObject(error);
    await expect(client.read(-1, 0, 1)).rejects.toMatchObject(error);
    await expect(client.writeMulti([{ region: 0, offset: 0, data: Buffer.alloc(9) }])).rejects.toMatchObject(
      error,
    );
    await expect(client.writeMulti([{ region: 0, offset: 0, data: Buffer.alloc(0) }])).rejects.toMatchObject(
      error,
    );
    await expect(client.writeU8(0, 0, 256)).rejects.toMatchObject(error);
    await expect(client.writeU16(0, 0, -1)).rejects.toMatchObject(error);
    await expect(client.writeU32(0, 0, 1.5, { posted: true })).rejects.toMatchObject(error);
    await expect(client.writeU64(0, 0, 1n << 64n)).rejects.toMatchObject(error);
    expect(await server.raw.receives(() => true, 5)).toBe(false);
  });
});
