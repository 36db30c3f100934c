import { mkdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../../src/client/index.ts';
import { KERNEL_DEVICE_RULES, MACHINE_RULES, SOCKET_RULES } from '../../../src/doctor/index.ts';
import { healthySocket } from '../../doctor/facts.ts';
import { lastJson, type Running, Shell } from '../ferry.ts';

const shell = new Shell();
const SOCKET = shell.path('m.sock');
let server: Running;

beforeAll(async () => {
  server = await shell.serve('memory', 'm.sock', '--size', '1M');
});
afterAll(() => shell.close());

describe('ferry doctor', () => {
  it('finds nothing that keeps a served device from moving, and says what QEMU would do', async () => {
    const { status, stdout } = await shell.run('doctor', SOCKET);
    expect(status).toBe(0);
    expect(stdout).toMatch(/server +node \(process \d+\)/);
    expect(stdout).toContain('loses the state of a vfio-user device when its VM is migrated');
    expect(stdout).toContain('  next: migrate the VM with: ferry vm migrate');
    expect(stdout.trimEnd().split('\n').at(-1)).toMatch(
      /^Nothing was found that keeps it from being migrated/,
    );
  });

  it('names the VMM, which does not notice', async () => {
    const vmm = await DeviceClient.connect(SOCKET);
    const { status, stdout } = await shell.run('doctor', `${SOCKET}.control`, '--json');
    expect(status).toBe(0);
    expect(lastJson(stdout)).toMatchObject({
      kind: 'socket',
      migratable: true,
      seen: expect.arrayContaining([
        { what: 'VMM', is: expect.stringContaining(`(process ${process.pid})`) },
      ]),
    });
    expect(await vmm.readU32(0, 0x08)).toBe(1024 * 1024);
    vmm.close();
  });

  it('says that a server is stopped, and how to let it go on', async () => {
    server.process.kill('SIGSTOP');
    const { status, stdout } = await shell.run('doctor', SOCKET, '--timeout', '200');
    server.process.kill('SIGCONT');
    expect(status).toBe(1);
    expect(stdout).toContain(`next: let it go on: kill -CONT ${server.process.pid}`);
  });

  it('says of a server that was killed that nobody listens', async () => {
    const dead = await shell.serve('edu', 'dead.sock');
    await dead.kill('SIGKILL');
    const { status, stdout } = await shell.run('doctor', shell.path('dead.sock'));
    expect(status).toBe(1);
    expect(stdout).toContain('[nobody-listens]');
  });

  it('looks at the machine, and at addresses', async () => {
    const machine = await shell.run('doctor', '--json');
    expect(lastJson(machine.stdout)).toMatchObject({ kind: 'machine', target: null });
    const { status, stdout } = await shell.run('doctor', 'ffff:ff:1f.7', '--json');
    expect(status).toBe(1);
    expect(lastJson(stdout)).toMatchObject({
      kind: 'pci',
      findings: [{ id: 'no-such-device', certainty: 'certain' }],
    });
  });

  it('says what it was given instead of a socket', async () => {
    mkdirSync(shell.path('folder'));
    const { status, stdout } = await shell.run('doctor', 'folder');
    expect(status).toBe(1);
    expect(stdout).toContain('folder is no socket but a directory');
  });

  it('advises only commands that there are', async () => {
    const { stdout: help } = await shell.run('--help');
    const commands = new Set(
      [...help.matchAll(/^ {2}([a-z][a-z-]*)(?:\|| \[| {2}|$)/gm)].map(([, name]) => name),
    );
    const advice = [...SOCKET_RULES].flatMap(({ next }) => next(healthySocket())).join('\n');
    const others = [...MACHINE_RULES, ...KERNEL_DEVICE_RULES].map(({ next }) => String(next)).join('\n');
    const named = [...`${advice}\n${others}`.matchAll(/\bferry ([a-z]+)/g)].map(([, name]) => name);
    expect(named.length).toBeGreaterThan(5);
    for (const name of named) expect([...commands], name).toContain(name);
  });
});
