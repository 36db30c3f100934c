import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { check, loadNative } from '../../src/native/index.ts';
import { type RunningServer, type ServeOptions, serveDevice } from '../../src/server/index.ts';
import { EventLoopReactor, type SocketBuffers, type SocketEvents } from '../../src/transport/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { RawClient, rawMessage, versionPayload } from '../helpers/raw-client.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { until } from '../helpers/until.ts';
import { readRegister } from './dma-device.ts';
import { getState } from './migration-driver.ts';

const native = loadNative();

describe('serving a device', () => {
  let folder: string;
  let path: string;
  let before: string[];
  const running: RunningServer[] = [];
  const clients: RawClient[] = [];

  beforeEach(() => {
    // The watches of a first server open what the process keeps.
    before = openFds();
    folder = mkdtempSync(join(tmpdir(), 'ferry-serve-'));
    path = join(folder, 'device.sock');
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    for (const server of running.splice(0)) server.close();
    rmSync(folder, { recursive: true });
    await until(() => openFds().length <= before.length);
  });

  function serve(options: ServeOptions): RunningServer {
    const server = serveDevice(new TestDevice(), options);
    running.push(server);
    return server;
  }
  async function connect(to: string): Promise<RawClient> {
    const client = await RawClient.open(to);
    clients.push(client);
    return client;
  }
  const mode = (file: string): string => (statSync(file).mode & 0o777).toString(8);

  it('listens on the path and on the path with .control, for the owner alone', async () => {
    const server = serve({ socketPath: path });
    expect([server.socketPath, server.controlPath]).toEqual([path, `${path}.control`]);
    expect([mode(path), mode(`${path}.control`)]).toEqual(['600', '600']);
    expect(await readRegister(await connect(path), 0)).toBe(0x600df00d);
    expect(await getState(await connect(`${path}.control`))).toBe(2);
  });

  it('opens the main socket to others on demand, as far as the umask lets it, and never the control socket', () => {
    const umask = process.umask();
    serve({ socketPath: path, socketMode: 0o666 });
    expect([mode(path), mode(`${path}.control`)]).toEqual([(0o666 & ~umask).toString(8), '600']);
  });

  it('has its control socket elsewhere, or none', async () => {
    const elsewhere = join(folder, 'other');
    serve({ socketPath: path, controlPath: elsewhere });
    expect(await getState(await connect(elsewhere))).toBe(2);
    const alone = join(folder, 'alone.sock');
    expect(serve({ socketPath: alone, controlPath: null }).controlPath).toBeNull();
    expect(readdirSync(folder).toSorted()).toEqual(['alone.sock', 'device.sock', 'other']);
  });

  it('serves a socket that was connected before, without a control socket unless it is named', async () => {
    const pair = new Int32Array(2);
    native.socketpair(pair);
    const [ours = -1, theirs = -1] = pair;
    const server = serve({ fd: ours });
    expect([server.socketPath, server.controlPath]).toEqual([null, null]);
    const client = new RawClient(theirs);
    clients.push(client);
    expect(await client.request(1, versionPayload(0, 0))).toMatchObject({ error: 0 });
    expect(await readRegister(client, 0)).toBe(0x600df00d);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('serves a connected socket with a control socket', async () => {
    const pair = new Int32Array(2);
    native.socketpair(pair);
    const [ours = -1, theirs = -1] = pair;
    serve({ fd: ours, controlPath: path });
    expect(await getState(await connect(path))).toBe(2);
    native.close(theirs);
  });

  it.each([
    ['neither a path nor an fd', {}],
    ['both', { socketPath: '/nowhere', fd: 0 }],
  ])('needs one of path and fd: %s is refused', (_, options) => {
    expect(() => serve(options)).toThrow(expect.objectContaining({ code: 'ERR_BAD_RANGE' }));
  });

  it('replaces sockets that a crashed server has left behind', async () => {
    for (const stale of [path, `${path}.control`]) native.close(native.listen(stale, 0o600, 1));
    expect(readdirSync(folder)).toHaveLength(2);
    serve({ socketPath: path });
    expect(await readRegister(await connect(path), 0)).toBe(0x600df00d);
    expect(await getState(await connect(`${path}.control`))).toBe(2);
  });

  it.each([
    ['main', (taken: string) => ({ socketPath: taken, controlPath: null })],
    ['control', (taken: string) => ({ socketPath: `${taken}.new`, controlPath: taken })],
  ])('does not take a path on which another server listens: %s', async (_, options) => {
    serve({ socketPath: path, controlPath: null });
    const files = readdirSync(folder);
    const fds = openFds();
    expect(() => serve(options(path))).toThrow(expect.objectContaining({ code: 'ERR_SOCKET_IN_USE' }));
    expect(readdirSync(folder), 'nothing is left behind').toEqual(files);
    await until(() => openFds().length === fds.length);
    expect(await readRegister(await connect(path), 0), 'the other goes on').toBe(0x600df00d);
  });

  it('does not touch a file that is no socket', () => {
    writeFileSync(path, 'precious');
    expect(() => serve({ socketPath: path })).toThrow(expect.objectContaining({ code: 'ERR_SOCKET_IN_USE' }));
    expect(existsSync(path)).toBe(true);
  });

  it('says that a path is too long, or lies nowhere', () => {
    expect(() => serve({ socketPath: join(folder, 'x'.repeat(108)) })).toThrow(
      expect.objectContaining({ code: 'ERR_SOCKET_PATH' }),
    );
    expect(() => serve({ socketPath: join(folder, 'none', 'x') })).toThrow(/ENOENT/);
  });

  it('whose control path is too long leaves nothing behind', () => {
    const long = join(folder, 'x'.repeat(107 - folder.length - 1));
    expect(() => serve({ socketPath: long })).toThrow(expect.objectContaining({ code: 'ERR_SOCKET_PATH' }));
    expect(readdirSync(folder)).toEqual([]);
  });

  it('ends its clients and removes its files when it is closed, once or twice', async () => {
    const server = serve({ socketPath: path });
    const main = await connect(path);
    const control = await connect(`${path}.control`);
    const silent = RawClient.connect(path);
    clients.push(silent);
    server.close();
    for (const client of [main, control, silent]) await client.waitClosed();
    expect(readdirSync(folder)).toEqual([]);
    server.close();
    expect(() => RawClient.connect(path)).toThrow();
  });

  it('goes on when it has no room for one more connection', async () => {
    let full = true;
    class Full extends EventLoopReactor {
      override open(fd: number, buffers: SocketBuffers, events: SocketEvents) {
        if (full) check(-Errno.ENOMEM, 'pump');
        return super.open(fd, buffers, events);
      }
    }
    const reported: string[] = [];
    serve({ socketPath: path, reactor: new Full(native), report: ({ message }) => reported.push(message) });
    const refused = RawClient.connect(path);
    clients.push(refused);
    await refused.waitClosed();
    expect(reported).toEqual([expect.stringContaining('ENOMEM')]);
    full = false;
    expect(await readRegister(await connect(path), 0)).toBe(0x600df00d);
  });

  it('leaves a file alone that somebody has put in its place', () => {
    const server = serve({ socketPath: path });
    unlinkSync(path);
    writeFileSync(path, 'somebody else');
    server.close();
    expect(readdirSync(folder)).toEqual(['device.sock']);
  });

  it('leaves no fds open, whatever state it is closed in', async () => {
    const server = serve({ socketPath: path });
    const main = await connect(path);
    const control = await connect(`${path}.control`);
    const memory = native.memfd('guest', 4096, true);
    const map = Buffer.alloc(32);
    map.writeUInt32LE(32, 0);
    map.writeUInt32LE(3, 4);
    map.writeBigUInt64LE(0x1000n, 24);
    main.send(rawMessage(5, 2, map), [memory]);
    expect((await main.reply(5)).error).toBe(0);
    native.close(memory);
    const set = Buffer.alloc(16);
    set.writeUInt32LE(16, 0);
    set.writeUInt32LE(0x2_0002, 4);
    set.writeUInt32LE(3, 8);
    expect((await control.request(16, set)).error).toBe(0);
    main.post(9, Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]));
    await until(() => server.server.main?.connection.heldCommands === 1);
    server.close();
    for (const client of clients.splice(0)) client.close();
    await until(() => openFds().length <= before.length);
  });
});
