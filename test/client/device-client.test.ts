import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
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

describe('DeviceClient', () => {
  it('says what it is connected to', async () => {
    const { client } = await connectFake(cleanup);
    expect(client.path).toBe('fake');
    expect(client.closedBecause).toBeNull();
  });

  it('says why it can not connect', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ferry-client-'));
    await expect(DeviceClient.connect(join(folder, 'sock'))).rejects.toMatchObject({
      code: 'ERR_SOCKET',
      errno: Errno.ENOENT,
      message: expect.stringContaining('is the server running'),
    });
    rmSync(folder, { recursive: true });
  });

  it('has several requests under way, in the order of the calls, and takes their answers in any', async () => {
    const { client, server } = await connectFake(cleanup);
    const results = [client.readU8(0, 0), client.readU8(0, 1), client.irqInfo(0), client.writeU8(0, 2, 9)];
    const requests = [];
    for (let i = 0; i < results.length; i += 1) requests.push(await server.next());
    expect(requests.map(({ command }) => command)).toEqual([9, 9, 7, 10]);
    const answers = [
      fields(0n, 0, 1, Buffer.from([1])),
      fields(1n, 0, 1, Buffer.from([2])),
      fields(16, 1, 0, 1),
      fields(2n, 0, 1),
    ];
    for (const [i, request] of [...requests.entries()].toReversed()) server.answer(request, answers[i]);
    expect(await Promise.all(results)).toMatchObject([1, 2, { count: 1 }, undefined]);
  });

  it('ends everything when it is closed: calls, mappings, eventfds, the connection', async () => {
    const { client, server } = await connectFake(cleanup);
    const fd = memfd(0x1000);
    const mapping = client.mapRegion(0);
    await server.serve(fields(32, 7, 0, 0, 0x1000n, 0n), [fd]);
    native.close(fd);
    const region = await mapping;
    const enabling = client.enableInterrupts(2, 3, () => {});
    for (const each of (await server.serve()).fds) native.close(each);
    await enabling;
    const waiting = client.info();
    client.close();
    client.close();
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_CLIENT_CLOSED' });
    expect((await client.closed).code).toBe('ERR_CLIENT_CLOSED');
    expect(region.areas[0]?.bytes).toHaveLength(0);
    await server.raw.waitClosed();
  });

  it('says so when the server hangs up, and keeps what is mapped until it is closed', async () => {
    const { client, server } = await connectFake(cleanup);
    const fd = memfd(0x1000);
    const mapping = client.mapRegion(0);
    await server.serve(fields(32, 7, 0, 0, 0x1000n, 0n), [fd]);
    native.close(fd);
    const region = await mapping;
    server.raw.close();
    expect((await client.closed).code).toBe('ERR_CONNECTION_CLOSED');
    expect(region.areas[0]?.bytes).toHaveLength(0x1000);
    client.close();
    expect(region.areas[0]?.bytes).toHaveLength(0);
    expect(client.closedBecause?.code).toBe('ERR_CONNECTION_CLOSED');
  });
});
