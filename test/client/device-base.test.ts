import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DeviceClient, GuestMemory, RemoteError } from '../../src/client/index.ts';
import { Errno, type FerryError } from '../../src/errors/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { fields, rawMessage } from '../helpers/raw-client.ts';
import { type Call, calls, type Guest, tolerant } from './calls.ts';
import { Cleanup, connectFake, type FakeServer, FERRY_JSON, native, REPLY } from './fake-server.ts';

const cleanup = new Cleanup();
let before: string[] = [];
let memory: GuestMemory;
let guest: Guest;
const eventfds: number[] = [];
const none = Buffer.alloc(0);

beforeEach(() => {
  before = openFds();
  memory = new GuestMemory(native);
  eventfds.push(...Array.from({ length: 3 }, () => native.eventfd(0)));
  guest = {
    ram: memory.add({ iova: 0x10000n, size: 0x4000 }),
    unmappable: memory.add({ iova: 0x8_0000_0000n, size: 100, access: 'message', writable: false }),
    eventfds,
  };
});
afterEach(() => {
  cleanup.run();
  memory.close();
  for (const fd of eventfds.splice(0)) native.close(fd);
  expect(openFds()).toEqual(before);
});

/** Whether a reply may be empty, or longer than was asked for, without harm. */
const toleratesEmpty = (call: Call): boolean =>
  call.reply.length === 0 ||
  call.command === 10 ||
  (call.command === 3 && !(call.result instanceof Uint8Array));

describe('DeviceBase', () => {
  it.each([...calls, ...tolerant])('$name sends its bytes and understands the answer', async (call) => {
    const { client, server } = await connectFake(cleanup, FERRY_JSON);
    const result = call.run(client, guest);
    const request = await server.serve(call.reply);
    for (const fd of request.fds) native.close(fd);
    expect(request).toMatchObject({ command: call.command, flags: call.flags ?? 0, error: 0 });
    expect(Buffer.from(request.payload).toString('hex')).toBe(call.request.toString('hex'));
    expect(request.fds).toHaveLength(call.fds ?? 0);
    expect(await result).toEqual(call.result);
  });

  it.each(calls)('$name passes on a refusal, and goes on', async (call) => {
    const { client, server } = await connectFake(cleanup, FERRY_JSON);
    const result = call.run(client, guest);
    const request = await server.next();
    for (const fd of request.fds) native.close(fd);
    server.refuse(request, Errno.ENOSPC);
    const error = await result.then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(RemoteError);
    expect(error).toMatchObject({ code: 'ERR_REMOTE', errno: Errno.ENOSPC, command: call.command });
    await expectWorks(client, server);
  });

  it.each([...calls, ...tolerant])(
    '$name takes a refusal with a payload, as libvfio-user sends it',
    async (call) => {
      const { client, server } = await connectFake(cleanup, FERRY_JSON);
      const result = call.run(client, guest).catch((error: unknown) => error);
      const request = await server.next();
      for (const fd of request.fds) native.close(fd);
      server.refuse(request, Errno.EINVAL, Buffer.concat([call.reply, Buffer.alloc(100, 0xee)]));
      const outcome = await result;
      if (calls.includes(call)) expect(outcome).toMatchObject({ code: 'ERR_REMOTE', errno: Errno.EINVAL });
      else expect(outcome).toBe(call.name === 'probeFeature' ? false : null);
      await expectWorks(client, server);
    },
  );

  it.each(calls.filter((call) => !toleratesEmpty(call)))(
    '$name refuses an empty answer, and goes on',
    async (call) => {
      const { client, server } = await connectFake(cleanup, FERRY_JSON);
      const result = expectMalformed(call.run(client, guest));
      await server.serve(none);
      await result;
      await expectWorks(client, server);
    },
  );

  it.each(calls.filter((call) => !toleratesEmpty(call)))(
    '$name refuses an answer that is cut off anywhere',
    async (call) => {
      const { client, server } = await connectFake(cleanup, FERRY_JSON);
      for (let length = 1; length < call.reply.length; length += 3) {
        const result = expectMalformed(call.run(client, guest));
        await server.serve(call.reply.subarray(0, length));
        await result;
      }
      await expectWorks(client, server);
    },
  );

  it.each(calls)('$name gives up in time, and goes on', async (call) => {
    const { client, server } = await connectFake(cleanup, FERRY_JSON, { timeoutMs: 40 });
    const result = call.run(client, guest);
    await expect(result).rejects.toMatchObject({ code: 'ERR_TIMEOUT', errno: Errno.ETIMEDOUT });
    const request = await server.next();
    for (const fd of request.fds) native.close(fd);
    server.answer(request, call.reply);
    await expectWorksInTheEnd(client, server);
  });

  it.each(calls)('$name fails with the reason when the server dies inside its answer', async (call) => {
    const { client, server } = await connectFake(cleanup, FERRY_JSON);
    const result = call.run(client, guest).catch((error: unknown) => error);
    const request = await server.next();
    for (const fd of request.fds) native.close(fd);
    const reply = rawMessage(request.id, request.command, Buffer.concat([call.reply, none]), REPLY);
    server.raw.send(reply.subarray(0, reply.length - 1));
    server.raw.close();
    expect(await result).toMatchObject({
      code: 'ERR_CONNECTION_CLOSED',
      message: expect.stringContaining('inside a message'),
    });
    expect((await client.closed).code).toBe('ERR_CONNECTION_CLOSED');
    expect(client.closedBecause).toBe(await client.closed);
  });

  it.each(calls)('$name is refused by a client that has been closed', async (call) => {
    const { client } = await connectFake(cleanup, FERRY_JSON);
    client.close();
    await expect(call.run(client, guest)).rejects.toMatchObject({
      code: 'ERR_CLIENT_CLOSED',
      errno: Errno.ENOTCONN,
    });
  });

  it('closes fds that a server sends with answers that have none', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.info();
    await server.serve(fields(16, 3, 9, 5), eventfds);
    await result;
  });

  it('ends when an answer is longer than any message was agreed to be', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.info();
    const request = await server.next();
    const header = rawMessage(request.id, request.command, none, REPLY);
    header.writeUInt32LE(2 << 20, 4);
    server.raw.send(header);
    await expect(result).rejects.toMatchObject({ code: 'ERR_FRAMING' });
    expect(client.closedBecause).toMatchObject({ code: 'ERR_FRAMING' });
  });

  it('refuses an answer that says that it answers another command', async () => {
    const { client, server } = await connectFake(cleanup);
    const result = client.info();
    const request = await server.next();
    server.answer({ id: request.id, command: 13 }, fields(16, 3, 9, 5));
    await expect(result).rejects.toMatchObject({ code: 'ERR_FRAMING' });
    await expectWorks(client, server);
  });

  it('reports an answer with an id that it has not used, and goes on', async () => {
    const reports: FerryError[] = [];
    const { client, server } = await connectFake(cleanup, undefined, {
      report: (error) => reports.push(error),
    });
    server.answer({ id: 4711, command: 4 }, fields(16, 3, 9, 5));
    await expectWorks(client, server);
    expect(reports).toMatchObject([{ code: 'ERR_FRAMING' }]);
  });

  it.each([
    ['0', 0, Errno.EIO],
    ['a number that is no errno', 0xbeef, Errno.EIO],
    ['an errno', Errno.EMSGSIZE, Errno.EMSGSIZE],
  ])('understands a refusal whose error is %s', async (_, error, errno) => {
    const { client, server } = await connectFake(cleanup);
    const result = client.info();
    server.refuse(await server.next(), error);
    await expect(result).rejects.toMatchObject({ code: 'ERR_REMOTE', errno, context: { error } });
  });

  it('sends nothing private to a server that has not agreed to it', async () => {
    const { client, server } = await connectFake(cleanup);
    expect(await client.precopyInfo()).toBeNull();
    expect(await client.inspectServer()).toBeNull();
    await expect(client.writeMulti([{ region: 0, offset: 0, data: Buffer.from([1]) }])).rejects.toMatchObject(
      {
        code: 'ERR_NOT_NEGOTIATED',
      },
    );
    expect(await server.raw.receives(() => true, 10)).toBe(false);
  });
});

async function expectMalformed(result: Promise<unknown>): Promise<void> {
  await expect(result).rejects.toMatchObject({ code: 'ERR_PROTOCOL_MALFORMED', errno: Errno.EINVAL });
}

/** The connection has survived: one more question is answered. */
async function expectWorks(client: DeviceClient, server: FakeServer): Promise<void> {
  const result = client.irqInfo(4);
  result.catch(() => {});
  const request = await server.raw.next(({ command }) => command === 7);
  server.answer(request, fields(16, 1, 4, 1));
  expect(await result).toMatchObject({ index: 4, count: 1 });
}

/** The same with a client so impatient that it may give up on a busy machine: its next question is answered then. */
async function expectWorksInTheEnd(...[client, server]: Parameters<typeof expectWorks>): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const outcome = await expectWorks(client, server).catch((error: unknown) => error);
    if (outcome === undefined) return;
    expect(outcome).toMatchObject({ code: 'ERR_TIMEOUT' });
  }
  throw new Error('the client never works again');
}
