import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { FakeQemu } from '../../vm/fake-qemu.ts';
import { lastJson, Shell } from '../ferry.ts';

const shell = new Shell();
afterAll(() => shell.close());

const fakes: FakeQemu[] = [];
afterEach(() => {
  for (const fake of fakes.splice(0)) fake.die();
});

let count = 0;
/** A fake QEMU of its own folder, with a device that `ferry serve` serves. */
async function vm(role: 'source' | 'destination') {
  count += 1;
  const folder = shell.path(`vm-${count}`);
  mkdirSync(folder, { mode: 0o700 });
  const name = join(`vm-${count}`, 'edu.sock');
  await shell.serve('edu', name);
  const qemu = await new FakeQemu(folder, role, role, shell.path(name)).start();
  fakes.push(qemu);
  return { qemu, socket: shell.path(name), folder };
}

describe('ferry vm check', () => {
  it('says that a VM can be moved, with its devices and their places', async () => {
    const { qemu, socket } = await vm('source');
    const { status, stdout } = await shell.run('vm', 'check', '--qmp', qemu.qmpPath, socket);
    expect(status, stdout).toBe(0);
    expect(stdout).toContain('can be the source: pc-q35-11.1, QEMU 11.1.3');
    expect(stdout).toContain('d0 at pcie.0/10.0');
  });

  it('says all that speaks against it, and changes nothing', async () => {
    const { qemu, socket } = await vm('source');
    const { status, stdout } = await shell.run(
      'vm',
      'check',
      '--qmp',
      qemu.qmpPath,
      `nic@${socket}`,
      '--json',
    );
    expect(status).toBe(1);
    expect(lastJson(stdout)['error']).toMatchObject({
      code: 'ERR_VM_REFUSED',
      message: expect.stringMatching(/no vfio-user device nic.*; d0 .* is not among the devices/),
    });
    expect(qemu.commands.filter((each) => /^(migrate|stop|cont)/.test(each))).toEqual([]);
  });

  it('refuses a gdb socket that others could open', async () => {
    const { qemu, socket, folder } = await vm('destination');
    chmodSync(folder, 0o755);
    chmodSync(qemu.gdbPath, 0o777);
    const args = ['vm', 'check', '--qmp', qemu.qmpPath, '--gdb', qemu.gdbPath, socket];
    const { status, stderr } = await shell.run(...args);
    expect(status).toBe(1);
    expect(stderr).toMatch(/owns the guest, and others may: put it into a directory with mode 0700/);
    chmodSync(qemu.gdbPath, 0o700);
    expect((await shell.run(...args)).stdout).toMatch(/note: whoever opens the gdb socket/);
  });

  it('tells where a monitor is missing, and what to do', async () => {
    const { status, stderr } = await shell.run('vm', 'check', '--qmp', '/nonexistent.qmp', 'a.sock');
    expect(status).toBe(1);
    expect(stderr).toMatch(/can't be reached: ENOENT[\s\S]*next: start its QEMU with -qmp/);
  });
});

/** What is done while a VM stands still. */
const STEPS = [
  ...['clear interrupt lines', 'touch pages, read registers', 'QEMU saves and sends'],
  ...['QEMU loads', 'write registers', 'cont'],
];

describe('ferry vm migrate', () => {
  it('tries everything, and stops there, in a dry run', async () => {
    const [from, to] = [await vm('source'), await vm('destination')];
    const { status, stdout } = await shell.run(
      ...['vm', 'migrate', '--dry-run', '--qmp', from.qemu.qmpPath],
      ...['--to-qmp', to.qemu.qmpPath, '--to-gdb', to.qemu.gdbPath, `${from.socket}=${to.socket}`],
    );
    expect(status, stdout).toBe(0);
    expect(stdout).toContain('nothing was changed');
    expect(from.qemu.running).toBe(true);
    expect(to.qemu.commands).not.toContain('migrate-incoming');
  });

  it('moves it, and reports the blackout', async () => {
    const [from, to] = [await vm('source'), await vm('destination')];
    const { status, stdout } = await shell.run(
      ...['vm', 'migrate', '--json', '--switch-anyway', '--qmp', from.qemu.qmpPath],
      ...['--to-qmp', to.qemu.qmpPath, '--to-gdb', to.qemu.gdbPath, `${from.socket}=${to.socket}`],
      ...['--report', shell.path('report.html')],
    );
    expect(status, stdout).toBe(0);
    expect(lastJson(stdout)).toMatchObject({
      owner: 'destination',
      vm: {
        blackoutMs: expect.any(Number),
        pages: 0,
        steps: STEPS.map((name) => ({ name, ms: expect.any(Number) })),
      },
    });
    expect([from.qemu.running, to.qemu.running]).toEqual([false, true]);
  });

  it('moves it to a receiver in another process', async () => {
    const [from, to] = [await vm('source'), await vm('destination')];
    const way = `unix:${shell.path(`way-${count}`)}`;
    const receiver = shell.start([
      ...['vm', 'receive', '--qmp', to.qemu.qmpPath, '--gdb', to.qemu.gdbPath, to.socket, '--listen', way],
    ]);
    await receiver.sees('listening');
    const sent = await shell.run(
      'vm',
      'migrate',
      '--switch-anyway',
      '--qmp',
      from.qemu.qmpPath,
      from.socket,
      '--to',
      way,
    );
    expect(sent.status, sent.stderr).toBe(0);
    expect(sent.stdout).toMatch(/The VM and 1 device run at .*blackout/s);
    expect(await receiver.ended).toMatchObject({ status: 0 });
    expect(to.qemu.running).toBe(true);
  });

  it('leaves a source that somebody who knows that the destination has died can have run again', async () => {
    const [from, to] = [await vm('source'), await vm('destination')];
    to.qemu.trouble = { at: 'cont', how: 'dies' };
    const { status, stdout } = await shell.run(
      ...['vm', 'migrate', '--json', '--switch-anyway', '--qmp', from.qemu.qmpPath],
      ...['--to-qmp', to.qemu.qmpPath, '--to-gdb', to.qemu.gdbPath, `${from.socket}=${to.socket}`],
    );
    expect(status, stdout).toBe(4);
    expect(lastJson(stdout)['error']).toMatchObject({ owner: 'destination' });
    expect(from.qemu.running).toBe(false);
    const recovered = await shell.run(
      'recover',
      `qmp:${from.qemu.qmpPath}`,
      '--force',
      '--why',
      'its host has burnt down',
    );
    expect(recovered.status, recovered.stdout + recovered.stderr).toBe(0);
    expect(from.qemu.running).toBe(true);
    expect((await shell.run('state', from.socket)).stdout).toContain('RUNNING');
  });

  it.each([
    ['without another VM', ['vm', 'migrate', '--qmp', 'a', 'x.sock=y.sock'], /--to-qmp and --to-gdb/],
    [
      'without pairs',
      ['vm', 'migrate', '--qmp', 'a', '--to-qmp', 'b', '--to-gdb', 'g', 'x.sock'],
      /SOURCE=DESTINATION/,
    ],
    ['without devices', ['vm', 'migrate', '--qmp', 'a'], /missing required argument/],
    ['without a monitor', ['vm', 'migrate', 'x.sock'], /--qmp/],
  ])('is a wrong command line %s', async (_, args, why) => {
    const { status, stderr } = await shell.run(...args);
    expect(status).toBe(2);
    expect(stderr).toMatch(why);
  });
});

describe('ferry vm upgrade', () => {
  it('says all that speaks against it, and changes nothing', async () => {
    const { qemu, socket } = await vm('source');
    const { status, stdout } = await shell.run(
      ...['vm', 'upgrade', '--json', '--qmp', qemu.qmpPath, '--to-qmp', qemu.qmpPath, '--to-gdb', 'new.gdb'],
      ...['--main', 'main.sock', '--cpr', 'cpr.sock', socket],
    );
    expect(status, stdout).toBe(1);
    expect(lastJson(stdout)['error']).toMatchObject({
      code: 'ERR_VM_REFUSED',
      message: expect.stringMatching(
        /aux-ram-share=on; .*nobody waits at .*; somebody listens at .* already/,
      ),
    });
    expect(qemu.commands.filter((each) => /^(migrate|stop|cont)/.test(each))).toEqual([]);
    expect((await shell.run('reconnect', socket)).stdout).toContain('its resets are carried out');
  });
});

it.each(['vm', 'vm migrate', 'vm receive', 'vm check', 'vm upgrade'])(
  'ferry %s --help tells what it is for',
  async (command) => {
    const { status, stdout } = await shell.run(...command.split(' '), '--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(/Usage: ferry vm/);
  },
);
