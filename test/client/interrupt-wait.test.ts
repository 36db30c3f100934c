import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GuestMemory } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { fields, rawMessage } from '../helpers/raw-client.ts';
import {
  Cleanup,
  connectScripted,
  MessageReader,
  native,
  outcomeOf,
  REPLY,
  scriptedReply,
} from './fake-server.ts';

const cleanup = new Cleanup();
let before: string[] = [];
beforeEach(() => {
  before = openFds();
});
afterEach(() => {
  cleanup.run();
  expect(openFds()).toEqual(before);
});

const DMA_READ = 11;
const DMA_WRITE = 12;

const bytes = (...values: number[]): Buffer => Buffer.from(values);

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
    expect(client.waitInterrupt(2, 0, 60_000)).toBe(2);
    expect(performance.now() - start).toBeLessThan(30_000);
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
    expect(outcomeOf(() => client.waitInterrupt(2, 0, 60_000))).toMatchObject({
      code: 'ERR_CONNECTION_CLOSED',
    });
  });
});

describe('SyncDeviceClient: DMA messages of the server', () => {
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
