import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../../src/client/index.ts';
import { EDU_IDENTIFICATION, MEMORY_ID } from '../../../src/devices/index.ts';
import { loadNative } from '../../../src/native/index.ts';
import { RawClient } from '../../helpers/raw-client.ts';
import { lastJson, Shell } from '../ferry.ts';

const native = loadNative();
let shell: Shell;
let clients: DeviceClient[] = [];

beforeEach(() => {
  shell = new Shell();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await shell.close();
});

async function connect(socket: string): Promise<DeviceClient> {
  const client = await DeviceClient.connect(shell.path(socket));
  clients = [...clients, client];
  return client;
}

function modeOf(socket: string): number {
  return statSync(shell.path(socket)).mode & 0o777;
}

describe('ferry serve', () => {
  it('says when it listens, on sockets that only their owner may use', async () => {
    const server = await shell.serve('edu', 'a.sock');
    const path = shell.path('a.sock');
    expect(server.stdout()).toBe(`listening on ${path} (control ${path}.control)\n`);
    expect([modeOf('a.sock'), modeOf('a.sock.control')]).toEqual([0o600, 0o600]);
  });

  it('says so in JSON', async () => {
    const server = await shell.serve('edu', 'a.sock', '--json');
    const socket = shell.path('a.sock');
    expect(lastJson(server.stdout())).toEqual({
      listening: { device: 'edu', socket, controlPath: `${socket}.control`, pid: server.process.pid },
    });
  });

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'ends with status 0 on %s and removes its sockets',
    async (signal) => {
      const server = await shell.serve('memory', 'a.sock', '--size', '64K');
      await connect('a.sock');
      expect(await server.kill(signal)).toMatchObject({ status: 0, signal: null, stderr: '' });
      expect(existsSync(shell.path('a.sock'))).toBe(false);
      expect(existsSync(shell.path('a.sock.control'))).toBe(false);
    },
  );

  it('ends in order when its standard input does, if that is asked for', async () => {
    const server = await shell.serve('edu', 'a.sock', '--until-stdin-ends');
    server.process.stdin?.end();
    expect(await server.ended).toMatchObject({ status: 0, signal: null, stderr: '' });
    expect(existsSync(shell.path('a.sock'))).toBe(false);
  });

  it.each([['gpio'], ['serial', '--backend', 'stdio']])(
    'does not take the end of the input of %s for that',
    async (...device) => {
      const socket = ['--socket-path', shell.path('a.sock'), '--until-stdin-ends'];
      expect(await shell.run('serve', ...device, ...socket)).toMatchObject({
        status: 2,
        stderr: expect.stringContaining('--until-stdin-ends'),
      });
    },
  );

  it('serves the device', async () => {
    await shell.serve('edu', 'a.sock');
    const client = await connect('a.sock');
    expect(await client.readU32(0, 0)).toBe(EDU_IDENTIFICATION);
  });

  it('tells as much as it is asked to on standard error, also from a thread of its own', async () => {
    const talking = [
      await shell.serve('edu', 'a.sock', '--log-level', 'debug'),
      await shell.serve('edu', 'b.sock', '--log-level', 'info', '--dedicated'),
      await shell.serve('edu', 'c.sock'),
    ];
    for (const socket of ['a.sock', 'b.sock', 'c.sock']) await (await connect(socket)).reset();
    await expect.poll(() => talking[0]?.stderr()).toMatch(/ferry: debug: main DEVICE_RESET/);
    await expect.poll(() => talking[1]?.stderr()).toMatch(/ferry: info: a reset by the main connection/);
    expect(talking[1]?.stderr()).not.toMatch(/debug/);
    expect(talking[2]?.stderr()).toBe('');
  });

  it('leaves the control socket out, or puts it elsewhere', async () => {
    await shell.serve('edu', 'a.sock', '--no-control');
    expect(existsSync(shell.path('a.sock.control'))).toBe(false);
    await shell.serve('edu', 'b.sock', '--control-path', shell.path('elsewhere'));
    expect(existsSync(shell.path('b.sock.control'))).toBe(false);
    const control = await connect('elsewhere');
    expect(await control.migrationFlags()).toBe(7n);
  });

  it('refuses a path that another server uses, and leaves that one alone', async () => {
    await shell.serve('edu', 'a.sock');
    const second = await shell.run('serve', 'edu', '--socket-path', shell.path('a.sock'));
    expect(second.status).toBe(1);
    expect(second.stderr).toMatch(
      /a\.sock is in use by another server\n {2}next: choose another --socket-path/,
    );
    expect(await (await connect('a.sock')).readU32(0, 0)).toBe(EDU_IDENTIFICATION);
  });

  it('replaces the sockets that a server left behind when it was killed', async () => {
    const first = await shell.serve('edu', 'a.sock');
    await first.kill('SIGKILL');
    expect(existsSync(shell.path('a.sock'))).toBe(true);
    await shell.serve('edu', 'a.sock');
    expect(await (await connect('a.sock')).readU32(0, 0)).toBe(EDU_IDENTIFICATION);
  });

  it('does not take a file that is no socket', async () => {
    writeFileSync(shell.path('a.sock'), 'precious');
    const { status, stderr } = await shell.run('serve', 'edu', '--socket-path', shell.path('a.sock'));
    expect(status).toBe(1);
    expect(stderr).toContain('exists and is not a socket');
    expect(readFileSync(shell.path('a.sock'), 'utf8')).toBe('precious');
  });

  it('loads an image, in a memory that is just large enough', async () => {
    writeFileSync(shell.path('image'), Buffer.alloc(5000, 'ferry'));
    await shell.serve('memory', 'a.sock', '--image', shell.path('image'));
    const client = await connect('a.sock');
    const { size } = await client.regionInfo(2);
    expect(size).toBe(8192n);
    expect(Buffer.from(await client.read(2, 0, 5000))).toEqual(Buffer.alloc(5000, 'ferry'));
  });

  it('refuses an image that does not fit', async () => {
    writeFileSync(shell.path('image'), Buffer.alloc(5000));
    const words = ['--size', '4K', '--image', shell.path('image')];
    const { status, stderr } = await shell.run(
      'serve',
      'memory',
      '--socket-path',
      shell.path('a.sock'),
      ...words,
    );
    expect(status).toBe(2);
    expect(stderr).toContain('has 5000 bytes and does not fit into 4096');
  });
});

describe('ferry serve with a module', () => {
  const device = new URL('../../../dist/device/index.js', import.meta.url).href;
  const source = (last: string) => `
    import { PciDevice, constant, u32 } from ${JSON.stringify(device)};
    class Tiny extends PciDevice {
      identity = { kind: 'tiny', vendor: 0x1af4, device: 0x10f1, classCode: 0xff0000 };
      state = this.migratable({ word: u32() });
      bars = { 0: this.registers(4096, { 0: constant(0x7141) }) };
      interrupts = {};
    }
    ${last}`;

  it.each([
    ['a class', 'export default Tiny;'],
    ['a function', 'export default async () => new Tiny();'],
    ['an object', 'export default new Tiny();'],
  ])('that exports %s', async (_, last) => {
    writeFileSync(shell.path('tiny.mjs'), source(last));
    await shell.serve('./tiny.mjs', 'a.sock');
    expect(await (await connect('a.sock')).readU32(0, 0)).toBe(0x7141);
  });

  it('on a thread of its own', async () => {
    writeFileSync(shell.path('tiny.mjs'), source('export default Tiny;'));
    const server = await shell.serve('./tiny.mjs', 'a.sock', '--dedicated');
    expect(await (await connect('a.sock')).readU32(0, 0)).toBe(0x7141);
    expect(await server.kill('SIGTERM')).toMatchObject({ status: 0 });
  });

  it('whose device works asynchronously can not have a thread of its own', async () => {
    const slow = source('export default class Slow extends Tiny { async work() {} }');
    writeFileSync(shell.path('slow.mjs'), slow);
    const words = ['--socket-path', shell.path('a.sock'), '--dedicated'];
    const { status, stderr } = await shell.run('serve', './slow.mjs', ...words);
    expect(status).toBe(1);
    expect(stderr).toContain('next: leave out --dedicated');
  });
});

describe('ferry serve --dedicated', () => {
  it.each([
    ['memory', MEMORY_ID],
    ['edu', EDU_IDENTIFICATION],
  ])('serves %s and ends with status 0', async (name, id) => {
    const server = await shell.serve(name, 'a.sock', '--dedicated');
    expect(await (await connect('a.sock')).readU32(0, 0)).toBe(id);
    expect(await server.kill('SIGTERM')).toMatchObject({ status: 0 });
    expect(existsSync(shell.path('a.sock'))).toBe(false);
  });
});

describe('ferry serve --fd', () => {
  it('accepts on a listening socket, one client after the other', async () => {
    const listener = native.listen(shell.path('inherited.sock'), 0o600, 4);
    const server = shell.start(['serve', 'edu', '--fd', '3'], [listener]);
    native.close(listener);
    await server.sees('listening on fd 3\n');
    for (let i = 0; i < 2; i += 1) {
      const client = await connect('inherited.sock');
      expect(await client.readU32(0, 0)).toBe(EDU_IDENTIFICATION);
      client.close();
    }
    expect(await server.kill('SIGTERM')).toMatchObject({ status: 0 });
  });

  it('serves a connected socket, and ends with status 0 when its client has gone', async () => {
    const pair = new Int32Array(2);
    native.socketpair(pair);
    const [ours = -1, theirs = -1] = pair;
    const server = shell.start(['serve', 'edu', '--fd', '3'], [theirs]);
    native.close(theirs);
    await server.sees('listening on fd 3');
    const client = new RawClient(ours);
    const version = Buffer.concat([Buffer.alloc(4), Buffer.from('{"capabilities": {}}\0')]);
    expect((await client.request(1, version)).error).toBe(0);
    client.close();
    expect(await server.ended).toMatchObject({ status: 0, stderr: '' });
  });

  it('stays for the control socket when there is one', async () => {
    const pair = new Int32Array(2);
    native.socketpair(pair);
    const [ours = -1, theirs = -1] = pair;
    const control = shell.path('c.sock');
    const server = shell.start(['serve', 'edu', '--fd', '3', '--control-path', control], [theirs]);
    native.close(theirs);
    await server.sees(`(control ${control})`);
    native.close(ours);
    await sleep(300);
    expect(await (await connect('c.sock')).migrationFlags()).toBe(7n);
  });
});

it('ends a wait for VERSION of a client that says nothing, and serves the next one', async () => {
  await shell.serve('edu', 'a.sock');
  const silent = connectSocket(shell.path('a.sock'));
  try {
    expect(await (await connect('a.sock')).readU32(0, 0)).toBe(EDU_IDENTIFICATION);
  } finally {
    silent.destroy();
  }
});

it('can be run as an executable file', () => {
  const main = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));
  expect(readFileSync(main, 'utf8').startsWith('#!/usr/bin/env node\n')).toBe(true);
});
