import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Diagnosis, diagnose } from '../../src/doctor/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { serveForTest } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { until } from '../helpers/until.ts';
import { setState } from '../server/migration-driver.ts';
import { FakeHost } from './fake-host.ts';

const QUICK = { timeoutMs: 150 };

let folder = '';
const toClose: (() => void)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-doctor-'));
});
afterEach(() => {
  for (const close of toClose.splice(0).reverse()) close();
  rmSync(folder, { recursive: true });
});

const ids = ({ findings }: Diagnosis): string[] => findings.map(({ id }) => id);

function serve(options: Parameters<typeof serveForTest>[1] = {}) {
  const served = serveForTest(new TestDevice(), options);
  toClose.push(() => served.close());
  return served;
}

/** A listener that does with each connection what a test says. */
async function listener(path: string, connected: Parameters<typeof createServer>[1]): Promise<Server> {
  const server = createServer({}, connected);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  toClose.push(() => server.close());
  return server;
}

describe('a served device', () => {
  it('is looked at over its control socket, whichever socket is named, while its VMM is served', async () => {
    const served = serve();
    const vmm = await served.main();
    for (const path of [served.socketPath, served.controlPath]) {
      const diagnosis = await diagnose(path);
      expect(ids(diagnosis)).toEqual(['qemu-loses-state']);
      expect(diagnosis).toMatchObject({ kind: 'socket', migratable: true, notLooked: [] });
      expect(diagnosis.seen).toContainEqual({ what: 'clients of the main socket', is: '1' });
    }
    expect((await vmm.request(4, Buffer.from([16, 0, 0, 0, ...Buffer.alloc(12)]))).error).toBe(0);
  });

  it('that was left in STOP_COPY is said to be, with how to end it', async () => {
    const served = serve();
    const control = await served.control();
    await setState(control, 3);
    control.close();
    const diagnosis = await diagnose(served.socketPath);
    expect(ids(diagnosis)).toEqual(['qemu-loses-state', 'state-left']);
    expect(diagnosis.migratable).toBe(false);
    expect(diagnosis.findings[1]?.next).toContain(
      `when its state runs nowhere else: ferry state ${served.socketPath} --set RUNNING`,
    );
  });

  it('without a control socket is left alone while a client has it, and looked at when it is free', async () => {
    const served = serve({ controlPath: null });
    const vmm = await served.main();
    const busy = await diagnose(served.socketPath);
    expect(ids(busy)).toEqual(['no-control-socket-busy']);
    expect(busy.notLooked).toContainEqual({
      what: 'the device',
      why: 'a client has its only socket, and must not be disturbed',
    });
    expect(vmm.closed).toBe(false);
    vmm.close();
    await until(() => served.server.main === null);
    const free = await diagnose(served.socketPath);
    expect(ids(free)).toEqual(['no-control-socket', 'qemu-loses-state']);
  });

  it('whose clients can not be seen refuses a second one, which is found too', async () => {
    const served = serve({ controlPath: null });
    await served.main();
    const host = new FakeHost({ 'proc/x': '' });
    toClose.push(() => host.close());
    const diagnosis = await diagnose(served.socketPath, { host });
    expect(ids(diagnosis)).toEqual(['no-control-socket-busy']);
    expect(diagnosis.notLooked[0]).toEqual({
      what: 'who listens and is connected',
      why: '/proc/net/unix can not be read',
    });
  });

  it('is looked at only from outside when that is asked for', async () => {
    const served = serve();
    const diagnosis = await diagnose(served.socketPath, { connect: false });
    expect(diagnosis.notLooked[0]?.why).toContain('--no-connect');
    expect(served.server.controls).toBe(0);
  });

  it('keeps no fd of who looked', async () => {
    const served = serve();
    const looked = async () => {
      await diagnose(served.socketPath);
      await until(() => served.server.controls === 0);
    };
    await looked();
    const before = openFds();
    for (let again = 0; again < 3; again += 1) await looked();
    expect(openFds()).toEqual(before);
  });
});

describe('something else', () => {
  it('is a path with nothing there', async () => {
    const diagnosis = await diagnose(join(folder, 'none', 'a.sock'));
    expect(diagnosis.findings[0]?.finding).toBe(`${join(folder, 'none')} does not exist`);
  });

  it('is a file or a folder', async () => {
    closeSync(openSync(join(folder, 'file'), 'w'));
    mkdirSync(join(folder, 'folder'));
    expect(ids(await diagnose(join(folder, 'file')))).toEqual(['not-a-socket']);
    expect(ids(await diagnose(join(folder, 'folder')))).toEqual(['not-a-socket']);
  });

  it('is a socket that was left behind', async () => {
    const native = loadNative();
    const path = join(folder, 'a.sock');
    native.close(native.listen(path, 0o600, 1));
    expect(ids(await diagnose(path))).toEqual(['nobody-listens']);
  });

  it('is a server that says nothing', async () => {
    const path = join(folder, 'a.sock');
    await listener(path, () => {});
    expect(ids(await diagnose(path, QUICK))).toEqual(['server-silent']);
  });

  it.each([
    ['has a queue', 4],
    ['has no more room for who waits', 0],
  ])('is a server that never accepts, and %s', async (_, backlog) => {
    const native = loadNative();
    const path = join(folder, 'a.sock');
    const fd = native.listen(path, 0o600, backlog);
    toClose.push(() => native.close(fd));
    for (const waiting of [1, backlog === 0 ? 1 : 2]) {
      const { findings, seen } = await diagnose(path, QUICK);
      expect(findings.map(({ id }) => id)).toEqual(['nobody-accepts']);
      expect(findings[0]?.finding).toContain(
        `(process ${process.pid}) listens, but accepts nobody (not accepted`,
      );
      expect(seen).toContainEqual({ what: 'clients of the main socket', is: '0' });
      const connections = waiting === 1 ? '1 connection' : '2 connections';
      expect(seen).toContainEqual({ what: 'not accepted yet', is: connections });
    }
  });

  it('is a server of one client at a time that has one, and another one waiting', async () => {
    const native = loadNative();
    const path = join(folder, 'a.sock');
    const listening = native.listen(path, 0o600, 4);
    const ends = [listening, native.connect(path), native.accept(listening), native.connect(path)];
    toClose.push(() => {
      for (const fd of ends) native.close(fd);
    });
    const { findings, seen } = await diagnose(path, QUICK);
    expect(findings.map(({ id }) => id)).toEqual(['no-control-socket-busy']);
    expect(seen).toContainEqual({ what: 'clients of the main socket', is: '1' });
    expect(seen).toContainEqual({ what: 'not accepted yet', is: '1 connection' });
  });

  it('is a server that hangs up', async () => {
    const path = join(folder, 'a.sock');
    await listener(path, (socket) => socket.destroy());
    expect(ids(await diagnose(path, QUICK))).toEqual(['server-hangs-up']);
  });

  it('is a server of another protocol', async () => {
    const path = join(folder, 'a.sock');
    await listener(path, (socket) => {
      socket.on('error', () => {});
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    });
    const [found] = (await diagnose(path, QUICK)).findings;
    expect(['protocol-broken', 'server-hangs-up']).toContain(found?.id);
    expect(found?.certainty).toBe('certain');
  });
});
