import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SyncDeviceClient } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { DedicatedReactor } from '../../src/transport/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { fields, rawMessage } from '../helpers/raw-client.ts';
import { others, reads, writes } from './accesses.ts';
import { Cleanup, connectScripted, native, outcomeOf, paired, scriptedReply } from './fake-server.ts';

const cleanup = new Cleanup();
let before: string[] = [];
beforeEach(() => {
  before = openFds();
});
afterEach(() => {
  cleanup.run();
  expect(openFds()).toEqual(before);
});

const ERROR_REPLY = 0x21;
const bytes = (...values: number[]): Buffer => Buffer.from(values);

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

  it('leaves one job behind, however much is posted before a wait', () => {
    const reactor = new DedicatedReactor(native);
    const { client, send, sent } = connectScripted(cleanup, { reactor });
    const waiting: (() => void)[] = [];
    const deferred = vi.spyOn(reactor, 'defer').mockImplementation((job) => waiting.push(job));
    for (let i = 0; i < 1000; i += 1) client.writeU32(0, 4, i, { posted: true });
    expect(waiting).toHaveLength(1);
    expect(sent()).toHaveLength(1000);
    deferred.mockRestore();
    for (const job of waiting) job();
    for (const id of [1002, 1003]) {
      send(scriptedReply(id, 9, fields(0n, 0, 4, bytes(9, 0, 0, 0))));
      expect(client.readU32(0, 0)).toBe(9);
    }
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
