import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GuestMemory, SyncDeviceClient, type WriteOptions } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { DedicatedReactor } from '../../src/transport/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { fields, rawMessage } from '../helpers/raw-client.ts';
import {
  Cleanup,
  connectScripted,
  MessageReader,
  native,
  paired,
  REPLY,
  scriptedReply,
} from './fake-server.ts';

const DMA_READ = 11;
const DMA_WRITE = 12;
const ERROR_REPLY = 0x21;

const cleanup = new Cleanup();
let before: string[] = [];
beforeEach(() => {
  before = openFds();
});
afterEach(() => {
  cleanup.run();
  expect(openFds()).toEqual(before);
});

const bytes = (...values: number[]): Buffer => Buffer.from(values);
const wide = bytes(1, 2, 3, 4, 5, 6, 7, 0x88);

interface Access {
  readonly name: string;
  readonly run: (client: SyncDeviceClient, options?: WriteOptions) => unknown;
  readonly command: number;
  readonly request: Buffer;
  readonly reply: Buffer;
  readonly result: unknown;
}

const reads: readonly Access[] = [
  {
    name: 'readU8',
    run: (client) => client.readU8(0, 3),
    command: 9,
    request: fields(3n, 0, 1),
    reply: fields(3n, 0, 1, bytes(0xfe)),
    result: 0xfe,
  },
  {
    name: 'readU16',
    run: (client) => client.readU16(7, 2n),
    command: 9,
    request: fields(2n, 7, 2),
    reply: fields(2n, 7, 2, bytes(0x34, 0x12)),
    result: 0x1234,
  },
  {
    name: 'readU32',
    run: (client) => client.readU32(0xffff_ffff, 0x1_2345_6789),
    command: 9,
    request: fields(0x1_2345_6789n, 0xffff_ffff, 4),
    reply: fields(0x1_2345_6789n, 0xffff_ffff, 4, bytes(0xef, 0xbe, 0xad, 0xde)),
    result: 0xdead_beef,
  },
  {
    name: 'readU64',
    run: (client) => client.readU64(0, 0xffff_ffff_ffff_fff8n),
    command: 9,
    request: fields(0xffff_ffff_ffff_fff8n, 0, 8),
    reply: fields(0xffff_ffff_ffff_fff8n, 0, 8, wide),
    result: 0x8807_0605_0403_0201n,
  },
];

const writes: readonly Access[] = [
  {
    name: 'writeU8',
    run: (client, options) => client.writeU8(0, 1, 0xff, options),
    command: 10,
    request: fields(1n, 0, 1, bytes(0xff)),
    reply: fields(1n, 0, 1),
    result: undefined,
  },
  {
    name: 'writeU16',
    run: (client, options) => client.writeU16(0, 1n, 0x1234, options),
    command: 10,
    request: fields(1n, 0, 2, bytes(0x34, 0x12)),
    reply: fields(1n, 0, 2),
    result: undefined,
  },
  {
    name: 'writeU32',
    run: (client, options) => client.writeU32(0, 4, 0xffff_fffe, options),
    command: 10,
    request: fields(4n, 0, 4, bytes(0xfe, 0xff, 0xff, 0xff)),
    reply: fields(4n, 0, 4),
    result: undefined,
  },
  {
    name: 'writeU32, answered by a header alone',
    run: (client, options) => client.writeU32(0, 4, 1, options),
    command: 10,
    request: fields(4n, 0, 4, bytes(1, 0, 0, 0)),
    reply: bytes(),
    result: undefined,
  },
  {
    name: 'writeU64',
    run: (client, options) => client.writeU64(0, 8, 0x8807_0605_0403_0201n, options),
    command: 10,
    request: fields(8n, 0, 8, wide),
    reply: fields(8n, 0, 8),
    result: undefined,
  },
];

const others: readonly Access[] = [
  {
    name: 'info',
    run: (client) => client.info(),
    command: 4,
    request: fields(16, 0, 0, 0),
    reply: fields(16, 1, 9, 5),
    result: { resettable: true, pci: false, regionCount: 9, irqCount: 5 },
  },
  {
    name: 'read',
    run: (client) => client.read(1, 0, 5),
    command: 9,
    request: fields(0n, 1, 5),
    reply: fields(0n, 1, 5, Buffer.from('hello')),
    result: new Uint8Array(Buffer.from('hello')),
  },
  {
    name: 'migrationState',
    run: (client) => client.migrationState(),
    command: 16,
    request: fields(16, 0x1_0002),
    reply: fields(16, 0x1_0002, 6, -1),
    result: 6,
  },
  {
    name: 'writeMigrationData',
    run: (client) => client.writeMigrationData(Buffer.from('state')),
    command: 18,
    request: fields(13, 5, Buffer.from('state')),
    reply: bytes(),
    result: undefined,
  },
];

/** The outcome of a call, also when it throws. */
function outcomeOf(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error;
  }
}

describe('SyncDeviceClient', () => {
  it.each([...reads, ...writes, ...others])('$name returns its result', (access) => {
    const { client, send, sent } = connectScripted(cleanup);
    for (const id of [2, 3]) {
      send(scriptedReply(id, access.command, access.reply));
      expect(access.run(client)).toEqual(access.result);
      const requests = sent();
      expect(requests).toHaveLength(1);
      expect(requests[0]).toMatchObject({ id, command: access.command, flags: 0 });
      expect(Buffer.from(requests[0]?.payload ?? [])).toEqual(access.request);
    }
  });

  it.each([...reads, ...writes, ...others])(
    '$name throws a refusal, with or without a payload, and goes on',
    (access) => {
      const { client, send } = connectScripted(cleanup);
      for (const [id, payload] of [
        [2, bytes()],
        [3, access.reply],
      ] as const) {
        send({ bytes: rawMessage(id, access.command, payload, ERROR_REPLY, Errno.ENOSPC) });
        expect(outcomeOf(() => access.run(client))).toMatchObject({
          code: 'ERR_REMOTE',
          errno: Errno.ENOSPC,
          command: access.command,
        });
      }
      send(scriptedReply(4, access.command, access.reply));
      expect(access.run(client)).toEqual(access.result);
    },
  );

  it.each([...reads, ...writes, ...others])(
    '$name throws when no answer comes in time, and goes on',
    (access) => {
      const { client, send } = connectScripted(cleanup, { timeoutMs: 10 });
      expect(outcomeOf(() => access.run(client))).toMatchObject({
        code: 'ERR_TIMEOUT',
        errno: Errno.ETIMEDOUT,
      });
      send(scriptedReply(2, access.command, access.reply));
      send(scriptedReply(3, access.command, access.reply));
      expect(access.run(client)).toEqual(access.result);
    },
  );

  it.each([...reads, ...writes, ...others])('$name throws what ended the connection', (access) => {
    const { client, peer } = connectScripted(cleanup);
    native.shutdown(peer);
    expect(outcomeOf(() => access.run(client))).toMatchObject({
      code: expect.stringMatching(/^ERR_CONNECTION/),
    });
    expect(client.closedBecause).not.toBeNull();
    expect(outcomeOf(() => access.run(client))).toBe(client.closedBecause);
  });

  it.each([...reads, ...writes.filter(({ reply }) => reply.length > 0)])(
    '$name refuses answers that lie, and goes on',
    (access) => {
      const { client, send } = connectScripted(cleanup);
      const otherCount = Buffer.from(access.reply);
      otherCount.writeUInt32LE(otherCount.readUInt32LE(12) + 1, 12);
      const lies = [access.reply.subarray(0, -1), Buffer.concat([access.reply, bytes(0)]), otherCount];
      for (const [i, lie] of lies.entries()) {
        send(scriptedReply(2 + i, access.command, lie));
        expect(outcomeOf(() => access.run(client))).toMatchObject({ code: 'ERR_PROTOCOL_MALFORMED' });
      }
      send(scriptedReply(2 + lies.length, access.command, access.reply));
      expect(access.run(client)).toEqual(access.result);
    },
  );

  it.each(writes)('$name, posted, returns when the socket has it', (access) => {
    const { client, sent } = connectScripted(cleanup);
    access.run(client, { posted: true });
    const [request] = sent();
    expect(request).toMatchObject({ command: 10, flags: 0x10 });
    expect(Buffer.from(request?.payload ?? [])).toEqual(access.request);
  });

  it('posts long writes, and keeps the order', () => {
    const { client, send, sent } = connectScripted(cleanup);
    client.write(0, 0, Buffer.alloc(40 * 1024), { posted: true });
    expect(sent().map(({ payload }) => payload.length)).toEqual([16 + 32 * 1024, 16 + 8 * 1024]);
    client.writeU8(0, 0, 1, { posted: true });
    send(scriptedReply(5, 9, fields(0n, 0, 1, bytes(7))));
    expect(client.readU8(0, 0)).toBe(7);
    expect(sent().map(({ command }) => command)).toEqual([10, 9]);
  });

  it('gives up on a server that does not take what is posted', () => {
    const { client } = connectScripted(cleanup, { timeoutMs: 20 });
    const post = (): void => {
      for (let i = 0; i < 100_000; i += 1) client.writeU64(0, 0, 0n, { posted: true });
    };
    expect(outcomeOf(post)).toMatchObject({ code: 'ERR_TIMEOUT' });
  });

  it.each([
    ['a value too large', (client: SyncDeviceClient) => client.writeU8(0, 0, 256)],
    ['a negative value', (client: SyncDeviceClient) => client.writeU32(0, 0, -1)],
    ['a fraction', (client: SyncDeviceClient) => client.writeU16(0, 0, 0.5)],
    ['a value beyond 64 bits', (client: SyncDeviceClient) => client.writeU64(0, 0, 1n << 64n)],
    ['a negative offset', (client: SyncDeviceClient) => client.readU32(0, -4)],
    ['an offset that a number rounds', (client: SyncDeviceClient) => client.readU32(0, 2 ** 53)],
    ['an offset beyond 64 bits', (client: SyncDeviceClient) => client.readU32(0, 1n << 64n)],
    ['a negative region', (client: SyncDeviceClient) => client.readU32(-1, 0)],
    ['a region beyond 32 bits', (client: SyncDeviceClient) => client.readU32(2 ** 32, 0)],
  ])('sends nothing for %s', (_, run) => {
    const { client, send, sent } = connectScripted(cleanup);
    expect(outcomeOf(() => run(client))).toMatchObject({ code: 'ERR_CLIENT_ARGUMENT', errno: Errno.EINVAL });
    send(scriptedReply(2, 9, fields(0n, 0, 4, bytes(1, 0, 0, 0))));
    expect(client.readU32(0, 0)).toBe(1);
    expect(sent()).toHaveLength(1);
  });

  it('will not be called by its own callbacks', () => {
    const { client, send } = connectScripted(cleanup);
    send(scriptedReply(2, 17, fields(9, 1, bytes(5))));
    const outcomes: unknown[] = [];
    client.readMigrationData(10, () => {
      outcomes.push(outcomeOf(() => client.readU8(0, 0)));
      outcomes.push(outcomeOf(() => client.info()));
      outcomes.push(outcomeOf(() => client.serve(1)));
    });
    expect(outcomes).toMatchObject(Array.from({ length: 3 }, () => ({ code: 'ERR_CLIENT_ARGUMENT' })));
    send(scriptedReply(3, 9, fields(0n, 0, 1, bytes(7))));
    expect(client.readU8(0, 0)).toBe(7);
  });

  it('hands a chunk over to another client on the same reactor without losing what arrives meanwhile', () => {
    const reactor = new DedicatedReactor(native);
    const source = connectScripted(cleanup, { reactor });
    const target = connectScripted(cleanup, { reactor });
    const chunk = Buffer.from(Uint8Array.from({ length: 5000 }, (_, i) => (i * 7) & 0xff));
    source.send(scriptedReply(2, 17, fields(8 + chunk.length, chunk.length, chunk)));
    target.send(scriptedReply(2, 18));
    const count = source.client.readMigrationData(1 << 20, (bytesInPlace) => {
      source.send(scriptedReply(3, 17, fields(8 + 4000, 4000, Buffer.alloc(4000, 0xee))));
      target.client.writeMigrationData(bytesInPlace);
      expect(Buffer.from(bytesInPlace).equals(chunk)).toBe(true);
    });
    expect(count).toBe(chunk.length);
    expect(Buffer.from(target.sent()[0]?.payload.subarray(8) ?? []).equals(chunk)).toBe(true);
    expect(source.client.readMigrationData(1 << 20, (rest) => expect(rest[0]).toBe(0xee))).toBe(4000);
  });

  it('can not be made for a server that is silent or refuses', () => {
    const silent = paired();
    cleanup.add(() => native.close(silent.peer));
    const options = { native: silent.face, timeoutMs: 10 };
    const refused = paired();
    cleanup.add(() => native.close(refused.peer));
    const refusal = rawMessage(1, 1, bytes(), ERROR_REPLY, Errno.EBUSY);
    native.send(refused.peer, refusal, 0, refusal.length, null, 0, 0, null);
    const connect = (how: typeof options | { native: typeof native }) =>
      SyncDeviceClient.connect('fake', how);
    expect(outcomeOf(() => connect(options))).toMatchObject({ code: 'ERR_TIMEOUT' });
    expect(outcomeOf(() => connect({ native: refused.face }))).toMatchObject({ errno: Errno.EBUSY });
  });
});

describe('SyncDeviceClient: DMA of the server', () => {
  function withMemory(twin?: { near: number; far: number }) {
    const memory = new GuestMemory(native);
    cleanup.add(() => memory.close());
    const region = memory.add({ iova: 0x1000n, size: 0x1000, access: 'message' });
    const json = '{"capabilities":{"twin_socket":{"supported":true,"fd_index":0}}}';
    const scripted = connectScripted(
      cleanup,
      { twinSocket: twin !== undefined },
      twin === undefined ? {} : { json, fds: [twin.near] },
    );
    scripted.send(scriptedReply(2, 2));
    scripted.client.mapMemory(region);
    scripted.sent();
    return { ...scripted, region };
  }

  it('is answered while a register is read', () => {
    const { client, send, sent, region } = withMemory();
    send({ bytes: rawMessage(70, DMA_WRITE, fields(0x1000n, 3n, Buffer.from('dma'))) });
    send({ bytes: rawMessage(71, DMA_READ, fields(0x1001n, 2n)) });
    send({ bytes: rawMessage(72, DMA_READ, fields(0x9000n, 2n)) });
    send(scriptedReply(3, 9, fields(0n, 0, 4, bytes(1, 2, 3, 4))));
    expect(client.readU32(0, 0)).toBe(0x0403_0201);
    expect(Buffer.from(region.bytes.subarray(0, 3)).toString()).toBe('dma');
    const [read, ...dma] = sent();
    expect(read).toMatchObject({ command: 9 });
    expect(dma.map(({ id, error }) => [id, error])).toEqual([
      [70, 0],
      [71, 0],
      [72, Errno.EFAULT],
    ]);
    expect(Buffer.from(dma[1]?.payload.subarray(16) ?? []).toString()).toBe('ma');
  });

  it('is answered on the twin socket while a register is read on the main one', () => {
    const pair = new Int32Array(2);
    native.socketpair(pair);
    const [near = -1, far = -1] = pair;
    const { client, send, region } = withMemory({ near, far });
    cleanup.add(() => native.close(far));
    expect(client.agreement.twinSocket).toBe(true);
    region.bytes[0] = 0x77;
    const request = rawMessage(9, DMA_READ, fields(0x1000n, 1n));
    native.send(far, request, 0, request.length, null, 0, 0, null);
    send(scriptedReply(3, 9, fields(0n, 0, 1, bytes(5))));
    expect(client.readU8(0, 0)).toBe(5);
    client.serve(1);
    const [reply] = new MessageReader(far).read();
    expect(reply).toMatchObject({ id: 9, flags: REPLY, error: 0 });
    expect(reply?.payload[16]).toBe(0x77);
  });

  it('ends the client when the twin socket ends', () => {
    const pair = new Int32Array(2);
    native.socketpair(pair);
    const [near = -1, far = -1] = pair;
    const { client } = withMemory({ near, far });
    native.close(far);
    expect(outcomeOf(() => client.serve(50))).toMatchObject({ code: 'ERR_CONNECTION_CLOSED' });
  });

  it('is answered while an interrupt is waited for, and for as long as it is told to', () => {
    const { client, send, sent } = withMemory();
    send(scriptedReply(3, 8));
    client.enableInterrupts(2, 1);
    sent();
    send({ bytes: rawMessage(70, DMA_READ, fields(0x1000n, 1n)) });
    expect(client.waitInterrupt(2, 0, 15)).toBe(0);
    send({ bytes: rawMessage(71, DMA_READ, fields(0x1000n, 1n)) });
    client.serve(15);
    expect(sent().map(({ id }) => id)).toEqual([70, 71]);
  });
});

describe('SyncDeviceClient: interrupts', () => {
  it('are counted since the last time', () => {
    const { client, send, eventfds } = connectScripted(cleanup);
    send(scriptedReply(2, 8));
    client.enableInterrupts(2, 2);
    native.eventfdSignal(eventfds[1] ?? -1, 1);
    native.eventfdSignal(eventfds[1] ?? -1, 2);
    expect(client.waitInterrupt(2, 1, 1000)).toBe(3);
    expect(client.waitInterrupt(2, 1, 0)).toBe(0);
    expect(client.waitInterrupt(2, 0, 0)).toBe(0);
  });

  it('end a wait at once when they fire during it', async () => {
    const { client, send, eventfds } = connectScripted(cleanup);
    send(scriptedReply(2, 8));
    client.enableInterrupts(2, 1);
    const worker = new Worker(
      `const { workerData } = require('node:worker_threads');
       const fs = require('node:fs');
       setTimeout(() => fs.writeSync(workerData, new BigUint64Array([2n])), 30);`,
      { eval: true, workerData: eventfds[0] },
    );
    await new Promise((resolve) => worker.once('online', resolve));
    const start = performance.now();
    expect(client.waitInterrupt(2, 0, 5000)).toBe(2);
    expect(performance.now() - start).toBeLessThan(4000);
    await worker.terminate();
  });

  it('can only be waited for once they are enabled, and as long as they are', () => {
    const { client, send } = connectScripted(cleanup);
    expect(outcomeOf(() => client.waitInterrupt(2, 0, 1000))).toMatchObject({ code: 'ERR_CLIENT_ARGUMENT' });
    send(scriptedReply(2, 8));
    client.enableInterrupts(2, 1);
    expect(outcomeOf(() => client.waitInterrupt(2, 1, 1000))).toMatchObject({ code: 'ERR_CLIENT_ARGUMENT' });
    send(scriptedReply(3, 8));
    client.disableInterrupts(2);
    expect(outcomeOf(() => client.waitInterrupt(2, 0, 1000))).toMatchObject({ code: 'ERR_CLIENT_ARGUMENT' });
  });

  it('are not waited for when the connection is over', () => {
    const { client, send, peer } = connectScripted(cleanup);
    send(scriptedReply(2, 8));
    client.enableInterrupts(2, 1);
    native.shutdown(peer);
    expect(outcomeOf(() => client.waitInterrupt(2, 0, 5000))).toMatchObject({
      code: 'ERR_CONNECTION_CLOSED',
    });
  });
});
