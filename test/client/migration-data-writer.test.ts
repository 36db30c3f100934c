import { afterEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
import type { Native } from '../../src/native/index.ts';
import type { RawMessage } from '../helpers/raw-client.ts';
import { versionPayload } from '../helpers/raw-client.ts';
import { Cleanup, connectFake, FakeServer, FERRY_JSON, LIBVFIO_USER_JSON, paired } from './fake-server.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const KiB = 1024;
/** The longest message that is one buffer of the kernel, which is all that libvfio-user can take (its issue 306). */
const ONE_BUFFER = 36_544;

function pattern(length: number, seed = 0): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 0xff));
}

const dataOf = (message: RawMessage): Buffer => Buffer.from(message.payload.subarray(8));

describe('writing migration data', () => {
  it('keeps every message for a server that is not Ferry in one send and one buffer of the kernel', async () => {
    const sends: number[] = [];
    const { face, peer } = paired();
    const watching: Native = {
      ...face,
      send: (...args) => {
        const [, , , headLength, , , bodyLength] = args;
        sends.push(headLength + bodyLength);
        return face.send(...args);
      },
    };
    const server = new FakeServer(peer);
    cleanup.add(() => server.close());
    const connecting = DeviceClient.connect('fake', { native: watching });
    await server.serve(versionPayload(0, 2, LIBVFIO_USER_JSON));
    const client = await connecting;
    cleanup.add(() => client.close());
    sends.length = 0;
    const data = pattern(100 * KiB);
    const result = client.writeMigrationData(data);
    const got: Buffer[] = [];
    for (let i = 0; i < 4; i += 1) got.push(dataOf(await server.serve()));
    await result;
    expect(Buffer.concat(got).equals(data)).toBe(true);
    expect(sends).toHaveLength(4);
    expect(Math.max(...sends)).toBeLessThanOrEqual(ONE_BUFFER);
  });

  it('has one message under way with a server that is not Ferry', async () => {
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON);
    const results = [client.writeMigrationData(pattern(40 * KiB)), client.writeMigrationData(pattern(10))];
    for (const size of [32 * KiB, 8 * KiB, 10]) {
      const request = await server.next();
      expect(dataOf(request)).toHaveLength(size);
      expect(await server.raw.receives(() => true, 5)).toBe(false);
      server.answer(request);
    }
    await Promise.all(results);
  });

  it('has many under way with Ferry, in the order of the calls', async () => {
    const { client, server } = await connectFake(cleanup, FERRY_JSON);
    const pieces = Array.from({ length: 20 }, (_, i) => pattern(1000 + i, i));
    const results = pieces.map((piece) => client.writeMigrationData(piece));
    const requests: RawMessage[] = [];
    for (let i = 0; i < pieces.length; i += 1) requests.push(await server.next());
    for (const request of requests) server.answer(request);
    await Promise.all(results);
    expect(requests.map(dataOf)).toEqual(pieces);
  });

  it('keeps the order of long and short writes when the server reads late, and lets the caller reuse the bytes', async () => {
    const { client, server } = await connectFake(cleanup, FERRY_JSON);
    const scratch = Buffer.alloc(1 << 20);
    const expected: Buffer[] = [];
    const results: Promise<void>[] = [];
    for (let i = 0; i < 12; i += 1) {
      const piece = pattern(i % 3 === 0 ? 1 << 20 : 100 + i, i);
      piece.copy(scratch);
      results.push(client.writeMigrationData(scratch.subarray(0, piece.length)));
      scratch.fill(0xff);
      expected.push(piece);
    }
    const got: Buffer[] = [];
    for (let i = 0; i < expected.length; i += 1) got.push(dataOf(await server.serve()));
    await Promise.all(results);
    expect(Buffer.concat(got).equals(Buffer.concat(expected))).toBe(true);
  });

  it.each([
    ['Ferry', FERRY_JSON],
    ['libvfio-user', LIBVFIO_USER_JSON],
  ])('fails whatever waits behind a failure, once, and starts afresh afterwards (%s)', async (_, json) => {
    const { client, server } = await connectFake(cleanup, json);
    const outcomes: string[] = [];
    const note = (name: string, result: Promise<void>): Promise<void> =>
      result.then(
        () => void outcomes.push(`${name} done`),
        (error: { errno: number }) => void outcomes.push(`${name} failed ${error.errno}`),
      );
    const noted = [
      note('long', client.writeMigrationData(pattern(100 * KiB))),
      note('short', client.writeMigrationData(pattern(10))),
    ];
    const first = await server.next();
    server.refuse(first, Errno.ENOSPC);
    if (json === FERRY_JSON) server.refuse(await server.next(), Errno.EINVAL);
    await Promise.all(noted);
    const second = json === FERRY_JSON ? Errno.EINVAL : Errno.ENOSPC;
    expect(outcomes).toEqual([`long failed ${Errno.ENOSPC}`, `short failed ${second}`]);
    const again = client.writeMigrationData(pattern(5));
    expect(dataOf(await server.serve())).toEqual(pattern(5));
    await again;
  });

  it('fails everything when the connection ends', async () => {
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON);
    const results = [client.writeMigrationData(pattern(100 * KiB)), client.writeMigrationData(pattern(10))];
    const caught = results.map((result) =>
      expect(result).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_CONNECTION/) }),
    );
    await server.next();
    server.raw.close();
    await Promise.all(caught);
  });

  it('sends nothing for nothing', async () => {
    const { client, server } = await connectFake(cleanup);
    await client.writeMigrationData(new Uint8Array(0));
    expect(await server.raw.receives(() => true, 5)).toBe(false);
  });
});
