import { afterEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { Cleanup, connectFake, FERRY_JSON, LIBVFIO_USER_JSON } from './fake-server.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const ignore = (): void => {};

describe('reading migration data', () => {
  it('trusts the size field: libvfio-user pads every reply to what was asked for', async () => {
    const { client, server } = await connectFake(cleanup);
    const chunks: string[] = [];
    const result = client.readMigrationData(1024, (chunk) => chunks.push(Buffer.from(chunk).toString()));
    const request = await server.serve(fields(16, 5, Buffer.from('state'), Buffer.alloc(1019, 0xee)));
    expect(Buffer.from(request.payload)).toEqual(fields(1032, 1024));
    expect(await result).toBe(5);
    expect(chunks).toEqual(['state']);
  });

  it('is over, for now, when no bytes come, padded or not', async () => {
    const { client, server } = await connectFake(cleanup);
    for (const padding of [0, 1024]) {
      let called = false;
      const result = client.readMigrationData(1024, () => {
        called = true;
      });
      await server.serve(fields(8, 0, Buffer.alloc(padding)));
      expect(await result).toBe(0);
      expect(called).toBe(false);
    }
  });

  it('is over for now when the server says ENOMSG, as drivers of the kernel do', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.readMigrationData(1024, ignore);
    server.refuse(await server.next(), Errno.ENOMSG);
    expect(await result).toBe(0);
  });

  it('shows the bytes where they were received, uncopied, and only for the length of the call', async () => {
    const { client, server } = await connectFake(cleanup);
    const kept: Uint8Array[] = [];
    for (const text of ['first', 'other']) {
      const result = client.readMigrationData(100, (chunk) => kept.push(chunk));
      await server.serve(fields(13, 5, Buffer.from(text)));
      await result;
    }
    expect(kept[0]?.buffer).toBe(kept[1]?.buffer);
  });

  it.each([
    ['what was agreed', {}, FERRY_JSON, 8 << 20, 1 << 20],
    ['what this side takes', { capabilities: { maxDataXferSize: 4096 } }, FERRY_JSON, 8 << 20, 4096],
    ['what the server sends', {}, '{"capabilities":{"max_data_xfer_size":65536}}', 8 << 20, 65536],
    ['what the caller wants', {}, FERRY_JSON, 100, 100],
  ])('asks for no more than %s', async (_, options, json, wanted, asked) => {
    const { client, server } = await connectFake(cleanup, json, options);
    const result = client.readMigrationData(wanted, ignore);
    const request = await server.serve(fields(8, 0));
    await result;
    expect(Buffer.from(request.payload)).toEqual(fields(asked + 8, asked));
  });

  it.each([
    ['more bytes than were asked for', fields(29, 21, Buffer.alloc(21))],
    ['fewer bytes than its size says', fields(16, 9, Buffer.alloc(8))],
    ['a size that no message has', fields(16, 0xffff_ffff, Buffer.alloc(8))],
  ])('refuses an answer with %s, before anybody sees them', async (_, answer) => {
    const { client, server } = await connectFake(cleanup);
    let called = false;
    const result = client.readMigrationData(20, () => {
      called = true;
    });
    await Promise.all([
      expect(result).rejects.toMatchObject({ code: 'ERR_PROTOCOL_MALFORMED' }),
      server.serve(answer),
    ]);
    expect(called).toBe(false);
  });

  it.each([
    [Errno.ENODEV, 'ERR_SESSION_ABORTED'],
    [Errno.EBUSY, 'ERR_SESSION_BUSY'],
    [Errno.EINVAL, 'ERR_REMOTE'],
  ])('says what errno %i means for the session', async (errno, code) => {
    const { client, server } = await connectFake(cleanup);
    const caught = expect(client.readMigrationData(10, ignore)).rejects.toMatchObject({ code, errno });
    server.refuse(await server.next(), errno);
    await caught;
  });

  it('passes on what the consumer throws, and goes on', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.readMigrationData(10, () => {
      throw new RangeError('no room');
    });
    const caught = expect(result).rejects.toThrow(RangeError);
    await server.serve(fields(9, 1, Buffer.alloc(1)));
    await caught;
    const next = client.readMigrationData(10, ignore);
    await server.serve(fields(8, 0));
    expect(await next).toBe(0);
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses to ask for %d bytes', async (bytes) => {
    const { client } = await connectFake(cleanup);
    await expect(client.readMigrationData(bytes, ignore)).rejects.toMatchObject({
      code: 'ERR_CLIENT_ARGUMENT',
    });
  });
});

describe('writing migration data', () => {
  it('passes on the reason of a refusal', async () => {
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON);
    const caught = expect(client.writeMigrationData(Buffer.alloc(8))).rejects.toMatchObject({
      code: 'ERR_SESSION_ABORTED',
      command: 18,
    });
    server.refuse(await server.next(), Errno.ENODEV);
    await caught;
  });
});
