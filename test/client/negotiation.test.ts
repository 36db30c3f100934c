import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ClientOptions, DeviceClient } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { fields, rawMessage, versionPayload } from '../helpers/raw-client.ts';
import {
  Cleanup,
  connectFake,
  FakeServer,
  FERRY_JSON,
  LIBVFIO_USER_JSON,
  memfd,
  native,
  paired,
  REPLY,
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

/** Connects to a server that answers VERSION with these bytes, and waits for how that goes. */
async function attempt(
  payload: Uint8Array,
  fds: readonly number[] = [],
  options: ClientOptions = {},
): Promise<unknown> {
  const { face, peer } = paired();
  const server = new FakeServer(peer);
  cleanup.add(() => server.close());
  const connecting = DeviceClient.connect('fake', { native: face, ...options }).then(
    (client) => {
      cleanup.add(() => client.close());
      return client;
    },
    (error: unknown) => error,
  );
  await server.serve(payload, fds);
  const outcome = await connecting;
  if (!(outcome instanceof DeviceClient)) await server.raw.waitClosed();
  return outcome;
}

const json = (capabilities: object): string => JSON.stringify({ capabilities });

describe('VERSION', () => {
  it('proposes what this version can, in JSON with a NUL at its end', async () => {
    const { version } = await connectFake(cleanup);
    expect(version).toMatchObject({ command: 1, flags: 0, id: 1 });
    const { payload } = version;
    expect([payload[0], payload[1], payload[2], payload[3]]).toEqual([0, 0, 2, 0]);
    expect(payload.at(-1)).toBe(0);
    const said: unknown = JSON.parse(Buffer.from(payload.subarray(4, -1)).toString());
    expect(said).toEqual({
      capabilities: {
        max_msg_fds: 16,
        max_data_xfer_size: 1048576,
        max_dma_maps: 65535,
        pgsizes: 0x7ffff000,
        write_multiple: true,
        migration: { pgsize: 4096, max_bitmap_size: 268435456 },
        ferry: {
          precopy_info: true,
          inspect: true,
          claim: true,
          reconnection: true,
          switchover: true,
          handover: true,
          configuration: 0,
        },
      },
    });
  });

  it('proposes a twin socket, and other limits, when told to', async () => {
    const options = { twinSocket: true, capabilities: { maxDataXferSize: 4096, maxMsgFds: 2 } };
    const { version } = await connectFake(cleanup, LIBVFIO_USER_JSON, options);
    const said = Buffer.from(version.payload).toString('latin1');
    expect(said).toContain('"twin_socket":{"supported":true}');
    expect(said).toContain('"max_data_xfer_size":4096');
    expect(said).toContain('"max_msg_fds":2');
  });

  it('agrees with libvfio-user, which names capabilities of its own accord', async () => {
    const { client } = await connectFake(cleanup, LIBVFIO_USER_JSON);
    expect(client.agreement).toMatchObject({
      major: 0,
      minor: 2,
      send: { maxDataXferSize: 1048576, maxMsgFds: 8 },
      receive: { maxDataXferSize: 1048576, maxMsgFds: 16 },
      twinSocket: false,
      writeMultiple: false,
      precopyInfo: false,
      inspect: false,
    });
  });

  it('agrees with Ferry on everything', async () => {
    const { client } = await connectFake(cleanup, FERRY_JSON);
    expect(client.agreement).toMatchObject({ writeMultiple: true, precopyInfo: true, inspect: true });
  });

  it('takes defaults from a server that says nothing', async () => {
    const client = await attempt(versionPayload(0, 0, null));
    expect(client).toMatchObject({
      agreement: { minor: 0, send: { maxDataXferSize: 1048576, maxMsgFds: 1 }, inspect: false },
    });
  });

  it.each([
    ['another major version', versionPayload(1, 0, '{}'), 'ERR_PROTOCOL_VERSION'],
    ['a newer minor version than proposed', versionPayload(0, 3, '{}'), 'ERR_PROTOCOL_VERSION'],
    ['nothing', Buffer.alloc(0), 'ERR_PROTOCOL_MALFORMED'],
    ['half a version', Buffer.alloc(3), 'ERR_PROTOCOL_MALFORMED'],
    ['JSON without NUL', fields(0, Buffer.from('{}')), 'ERR_PROTOCOL_MALFORMED'],
    ['no JSON', versionPayload(0, 0, '{"capa'), 'ERR_PROTOCOL_MALFORMED'],
    [
      'a limit that is no number',
      versionPayload(0, 0, json({ max_msg_fds: 'many' })),
      'ERR_PROTOCOL_MALFORMED',
    ],
    ['a limit of nothing', versionPayload(0, 0, json({ max_data_xfer_size: 0 })), 'ERR_PROTOCOL_MALFORMED'],
    [
      'a limit below a register',
      versionPayload(0, 0, json({ max_data_xfer_size: 4 })),
      'ERR_PROTOCOL_VERSION',
    ],
    [
      'a twin socket that was not proposed',
      versionPayload(0, 0, json({ twin_socket: { supported: true, fd_index: 0 } })),
      'ERR_PROTOCOL_VERSION',
    ],
  ])('refuses %s in the answer, and hangs up', async (_, payload, code) => {
    expect(await attempt(payload)).toMatchObject({ code });
  });

  it.each([
    ['without an fd', {}, 0],
    ['with an index beyond the fds', { fd_index: 1 }, 1],
    ['without an index', {}, 1],
  ])('refuses a twin socket %s, and hangs up', async (_, index, count) => {
    const fds = Array.from({ length: count }, () => memfd(4096));
    const payload = versionPayload(0, 2, json({ twin_socket: { supported: true, ...index } }));
    expect(await attempt(payload, fds, { twinSocket: true })).toMatchObject({ code: 'ERR_PROTOCOL_VERSION' });
    for (const fd of fds) native.close(fd);
  });

  it('takes the twin socket that its index names, and closes what else came', async () => {
    const out = new Int32Array(2);
    native.socketpair(out);
    const [twin = -1, far = -1] = out;
    const other = memfd(4096);
    const payload = versionPayload(0, 2, json({ twin_socket: { supported: true, fd_index: 1 } }));
    expect(await attempt(payload, [other, twin], { twinSocket: true })).toBeInstanceOf(DeviceClient);
    native.close(twin);
    native.close(other);
    const server = new FakeServer(far);
    cleanup.add(() => server.close());
    server.raw.send(rawMessage(1, 11, fields(0n, 4n)));
    expect(await server.next()).toMatchObject({ id: 1, command: 11, error: Errno.EFAULT });
  });

  it('passes on a refusal, and hangs up', async () => {
    const { face, peer } = paired();
    const server = new FakeServer(peer);
    cleanup.add(() => server.close());
    const connecting = DeviceClient.connect('fake', { native: face }).catch((error: unknown) => error);
    server.refuse(await server.next(), Errno.EBUSY);
    expect(await connecting).toMatchObject({ code: 'ERR_REMOTE', errno: Errno.EBUSY });
    await server.raw.waitClosed();
  });

  it('gives up on a server that says nothing, and on one that hangs up', async () => {
    const silent = paired();
    cleanup.add(() => native.close(silent.peer));
    await expect(DeviceClient.connect('fake', { native: silent.face, timeoutMs: 10 })).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
    });
    const gone = paired();
    native.close(gone.peer);
    await expect(DeviceClient.connect('fake', { native: gone.face })).rejects.toMatchObject({
      code: 'ERR_CONNECTION_LOST',
    });
  });

  it('answers no DMA before there is memory, and never anything but DMA', async () => {
    const { face, peer } = paired();
    const server = new FakeServer(peer);
    cleanup.add(() => server.close());
    const connecting = DeviceClient.connect('fake', { native: face });
    const request = await server.next();
    server.raw.send(rawMessage(9, 11, fields(0n, 4n)));
    expect(await server.next()).toMatchObject({ id: 9, error: Errno.EFAULT });
    server.raw.send(rawMessage(10, 4, fields(16, 0, 0, 0)));
    expect(await server.next()).toMatchObject({ id: 10, error: Errno.ENOSYS });
    server.raw.send(rawMessage(request.id, 1, versionPayload(0, 2), REPLY));
    (await connecting).close();
  });
});
