import { afterEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { fields, type RawMessage } from '../helpers/raw-client.ts';
import { Cleanup, connectFake, type FakeServer, FERRY_JSON, LIBVFIO_USER_JSON } from './fake-server.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const GET = 0x1_0000;

/** A small PCI device: two BARs, configuration space, INTx. `refuses` says what it will not tell now. */
async function play(
  server: FakeServer,
  refuses: (command: number, request: Buffer) => boolean,
): Promise<void> {
  const answers: Readonly<Record<number, (request: Buffer) => Buffer>> = {
    4: () => fields(16, 3, 9, 5),
    5: (request) => {
      const index = request.readUInt32LE(8);
      return fields(32, 3, index, 0, [0x1000n, 0n, 0x40n, 0n, 0n, 0n, 0n, 0x100n, 0n][index] ?? 0n, 0n);
    },
    7: (request) => fields(16, 1, request.readUInt32LE(8), request.readUInt32LE(8) === 0 ? 1 : 0),
    9: (request) => Buffer.concat([request.subarray(0, 16), Buffer.alloc(request.readUInt32LE(12), 0x11)]),
    16: (request) => {
      const feature = request.readUInt32LE(4) & 0xffff;
      if (feature === 1) return fields(16, GET | 1, 5n);
      return feature === 2 ? fields(16, GET | 2, 3, 0) : fields(16, GET | 9, 1234n);
    },
    0xfe02: () => fields(24, 0, Buffer.from('{"hold":{"active":false}}')),
  };
  for (;;) {
    const message: RawMessage = await server.next();
    const request = Buffer.from(message.payload);
    const answer = answers[message.command];
    if (answer === undefined || refuses(message.command, request)) server.refuse(message, Errno.EINVAL);
    else server.answer(message, answer(request));
  }
}

async function ask(json: string, refuses: (command: number, request: Buffer) => boolean = () => false) {
  const { client, server } = await connectFake(cleanup, json);
  const playing = play(server, refuses).catch(() => {});
  const description = await client.describe();
  client.close();
  await playing;
  return description;
}

describe('describe', () => {
  it('asks for everything', async () => {
    const { info, regions, interrupts, config, migration, server, refused } = await ask(FERRY_JSON);
    expect(info?.regionCount).toBe(9);
    expect(regions.map(({ size }) => size)).toEqual([0x1000n, 0n, 0x40n, 0n, 0n, 0n, 0n, 0x100n, 0n]);
    expect(interrupts.map(({ count }) => count)).toEqual([1, 0, 0, 0, 0]);
    expect(config).toMatchObject({ vendor: 0x1111, bytes: { length: 256 } });
    expect(migration).toEqual({ flags: 5n, state: 3, dataSize: 1234n });
    expect(server).toEqual({ hold: { active: false } });
    expect(refused).toEqual([]);
  });

  it('leaves out what the server refuses now, and says what it was', async () => {
    // libvfio-user in STOP_COPY: neither information nor configuration space.
    const description = await ask(LIBVFIO_USER_JSON, (command) => command !== 16);
    expect(description).toMatchObject({
      info: null,
      regions: [],
      interrupts: [],
      config: null,
      migration: { flags: 5n, state: 3, dataSize: 1234n },
      server: null,
    });
    expect(description.refused.map(({ context }) => context['command'])).toEqual(['DEVICE_GET_INFO']);
  });

  it('leaves out single regions and interrupts', async () => {
    const isFirst = (command: number, request: Buffer): boolean =>
      (command === 5 || command === 7) && request.readUInt32LE(8) === 0;
    const { regions, interrupts, refused } = await ask(FERRY_JSON, isFirst);
    expect(regions.map(({ index }) => index)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(interrupts.map(({ index }) => index)).toEqual([1, 2, 3, 4]);
    expect(refused).toHaveLength(2);
  });

  it('does without migration', async () => {
    const { migration, refused } = await ask(FERRY_JSON, (command) => command === 16);
    expect(migration).toEqual({ flags: null, state: null, dataSize: null });
    expect(refused).toEqual([]);
  });

  it('does not ask a server that claims to have four billion regions for each of them', async () => {
    const { client, server } = await connectFake(cleanup);
    const asked: number[] = [];
    const playing = (async () => {
      for (;;) {
        const message = await server.next();
        asked.push(message.command);
        if (message.command === 4) server.answer(message, fields(16, 3, 0xffff_ffff, 0xffff_ffff));
        else server.refuse(message, Errno.EINVAL);
      }
    })().catch(() => {});
    await client.describe();
    client.close();
    await playing;
    expect(asked.filter((command) => command === 5)).toHaveLength(256);
    expect(asked.filter((command) => command === 7)).toHaveLength(256);
  });

  it('fails when the connection does', async () => {
    const { client, server } = await connectFake(cleanup);
    const caught = expect(client.describe()).rejects.toMatchObject({ code: 'ERR_CONNECTION_CLOSED' });
    await server.next();
    server.raw.close();
    await caught;
  });
});
