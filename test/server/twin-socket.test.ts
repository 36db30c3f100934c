import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import type { PciDevice } from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import type { ServeOptions } from '../../src/server/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { fields, RawClient, type RawMessage, versionPayload } from '../helpers/raw-client.ts';
import { until } from '../helpers/until.ts';
import { answerDma, DmaDevice, Doorbell, isCommand, offerGuest, ringDoorbell } from './dma-device.ts';
import { type Served, testServers } from './test-servers.ts';

const { EINVAL } = Errno;
const native = loadNative();

let served: Served;
const servers = testServers();

function serve<D extends PciDevice>(device: D, options: ServeOptions = {}): D {
  served = servers.serve(device, options);
  return device;
}

/** VERSION data with these capabilities. */
function proposing(capabilities: object): string {
  return JSON.stringify({ capabilities });
}

describe('the twin socket', () => {
  const TWIN = proposing({ max_msg_fds: 1, twin_socket: { supported: true } });
  const guest = new Uint8Array(4 * 1024 * 1024).map((_, i) => (i * 13) >> 4);

  async function openTwin(): Promise<{ client: RawClient; twin: number; reply: RawMessage }> {
    const client = served.connect();
    const reply = await client.request(1, versionPayload(0, 0, TWIN));
    return { client, twin: reply.fds[0] ?? -1, reply };
  }

  it('is named in the reply, and carries what the server asks', async () => {
    const device = serve(new DmaDevice());
    const { client, twin, reply } = await openTwin();
    expect(reply.fds).toHaveLength(1);
    expect(JSON.parse(Buffer.from(reply.payload.subarray(4, -1)).toString())).toMatchObject({
      capabilities: { twin_socket: { supported: true, fd_index: 0 } },
    });
    const dma = new RawClient(twin);
    await offerGuest(client, 0n, guest.length);
    ringDoorbell(client, Doorbell.READ, 0x100, 32);
    await answerDma(dma, guest, await dma.next(isCommand));
    await until(() => device.state.done === 1);
    expect(await client.receives(isCommand, 5)).toBe(false);
    dma.close();
  });

  it('blocks at the client, as any socket does: a reply of 1 MiB can be written at once', async () => {
    const device = serve(new DmaDevice());
    const { client, twin } = await openTwin();
    const info = readFileSync(`/proc/self/fdinfo/${twin}`, 'utf8');
    expect(Number.parseInt(/flags:\s*(\d+)/.exec(info)?.[1] ?? '', 8) & 0o4000, 'O_NONBLOCK').toBe(0);
    await offerGuest(client, 0n, guest.length);
    ringDoorbell(client, Doorbell.READ, 0, 1024 * 1024);
    // A thread of its own plays the client that knows nothing but read and write.
    const worker = new Worker(
      `const { readSync, writeSync } = require('node:fs');
       const { workerData: { twin, guest } } = require('node:worker_threads');
       const request = Buffer.alloc(32);
       readSync(twin, request);
       const reply = Buffer.concat([request, Buffer.from(guest.buffer, 0, 1024 * 1024)]);
       reply.writeUInt32LE(reply.length, 4);
       reply.writeUInt32LE(1, 8);
       for (let at = 0; at < reply.length;) at += writeSync(twin, reply, at);`,
      { eval: true, workerData: { twin, guest } },
    );
    const failure = await new Promise((resolve) => {
      worker.once('error', resolve);
      worker.once('exit', () => resolve(null));
    });
    expect(failure).toBeNull();
    await until(() => device.state.done === 1);
    expect(
      Buffer.compare(device.state.ram.bytes.subarray(0, 1024 * 1024), guest.subarray(0, 1024 * 1024)),
    ).toBe(0);
    native.close(twin);
  });

  it('takes no commands', async () => {
    serve(new DmaDevice());
    const { twin } = await openTwin();
    const dma = new RawClient(twin);
    expect(await dma.request(4, fields(16, 0, 0, 0))).toMatchObject({ error: EINVAL });
    dma.close();
  });

  it('and the main socket end together, and leave nothing open', async () => {
    serve(new DmaDevice());
    await (await served.control()).request(4, fields(16, 0, 0, 0));
    const before = openFds();
    for (const end of ['twin', 'main']) {
      const { client, twin } = await openTwin();
      const dma = new RawClient(twin);
      const [first, second] = end === 'twin' ? [dma, client] : [client, dma];
      first.close();
      await second.waitClosed();
      second.close();
      await until(() => served.server.main === null);
    }
    await until(() => openFds().length === before.length);
  });

  it('is not given to a controller, nor to a client that takes no fds', async () => {
    serve(new DmaDevice());
    const none = proposing({ max_msg_fds: 0, twin_socket: { supported: true } });
    for (const [path, json] of [
      [served.controlPath, TWIN],
      [served.socketPath, none],
    ] as const) {
      const client = served.connect(path);
      const reply = await client.request(1, versionPayload(0, 0, json));
      expect(reply).toMatchObject({ error: 0, fds: [] });
      expect(Buffer.from(reply.payload).toString()).not.toContain('twin_socket":{"supported":true');
      client.close();
    }
  });
});
