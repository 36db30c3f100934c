import { rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadNative } from '../../../src/native/index.ts';
import { fields, RawClient } from '../../helpers/raw-client.ts';
import { FERRY_LINE, lastJson, Shell } from '../ferry.ts';

let shell: Shell;
/** Servers that were started by `ferry upgrade`, and not by the shell. */
const successors = new Set<number>();
const clients: RawClient[] = [];
beforeEach(() => {
  shell = new Shell();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const pid of successors) endProcess(pid);
  successors.clear();
  await shell.close();
});

/** Liveness of edu: reads the complement of what was written. */
async function liveness(client: RawClient): Promise<number> {
  const reply = await client.request(9, fields(4n, 0, 4));
  return Buffer.from(reply.payload).readUInt32LE(16);
}

async function vmm(socket: string): Promise<RawClient> {
  const client = await RawClient.open(shell.path(socket));
  clients.push(client);
  await client.request(10, fields(4n, 0, 4, 0xffff_fffe));
  return client;
}

function noteSuccessor(line: string): number {
  const pid = Number(lastJson(line)['now']);
  successors.add(pid);
  return pid;
}

describe('ferry serve --take-over', () => {
  it('goes on under the client of another process, which ends', async () => {
    const before = await shell.serve('edu', 'a.sock');
    const client = await vmm('a.sock');
    const after = shell.start(['serve', 'edu', '--take-over', shell.path('a.sock')]);
    await after.sees('taken over from process');
    expect(after.stdout()).toContain(`taken over from process ${before.process.pid}`);
    expect(await before.ended).toMatchObject({ status: 0, stderr: '' });
    expect(await liveness(client)).toBe(1);
    expect((await shell.run('inspect', shell.path('a.sock'))).status).toBe(0);
    await after.kill('SIGTERM');
  });

  it.each([
    ['--socket-path', 'b.sock'],
    ['--fd', '3'],
    ['--no-control'],
    ['--dedicated'],
    ['--migration', 'v1'],
  ])('contradicts %s', async (...option) => {
    const { status, stderr } = await shell.run('serve', 'edu', '--take-over', 'a.sock', ...option);
    expect([status, stderr]).toEqual([2, expect.stringMatching(/contradict|conflict|cannot be used/)]);
  });

  it('says why not, and the other goes on', async () => {
    await shell.serve('edu', 'a.sock');
    const client = await vmm('a.sock');
    const refused = await shell.run('serve', 'memory', '--take-over', shell.path('a.sock'));
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining('its kind is edu')]);
    expect(await liveness(client)).toBe(1);
  });

  it('says with what the pause was spent', async () => {
    await shell.serve('edu', 'a.sock');
    const after = shell.start(['serve', 'edu', '--take-over', shell.path('a.sock'), '--json']);
    await after.sees('"listening"');
    const listening: unknown = lastJson(after.stdout())['listening'];
    const ms: unknown = expect.any(Number);
    const pause = { totalMs: ms, saveMs: ms, passMs: ms, loadMs: ms, runMs: ms, cpuMs: ms };
    expect(listening).toMatchObject({ pause, pauseMs: ms });
  });

  it('refuses what it could not open, before anything is stopped, and says how to go on', async () => {
    await shell.serve('edu', 'a.sock');
    const client = await vmm('a.sock');
    const native = loadNative();
    for (let i = 0; i < 300; i += 1) {
      const fd = native.memfd('guest', 4096, true);
      const map = await client.request(2, fields(32, 3, 0n, BigInt(i) * 4096n, 4096n), [fd]);
      expect(map.error).toBe(0);
      native.close(fd);
    }
    // Enough to load the program; Node has raised its own limit to the hard one.
    const command = `${FERRY_LINE} serve edu --take-over ${shell.path('a.sock')}`;
    const { status, stderr } = await shell.sh(`ulimit -n 350; exec ${command}`);
    expect([status, stderr]).toEqual([1, expect.stringMatching(/30\d descriptors to pass on.*ulimit -Hn/s)]);
    expect(await liveness(client)).toBe(1);
  });

  it.each([
    ['--dedicated', ['edu', '--dedicated'], /thread of its own/],
    ['--migration v1', ['edu', '--migration', 'v1'], /first migration interface/],
    ['a terminal', ['serial', '--backend', 'pty'], /unix:PATH can be handed over/],
  ])('is refused with the reason by a server with %s', async (_what, args, why) => {
    const [device = ''] = args;
    await shell.serve(device, 'a.sock', ...args.slice(1));
    const backend = device === 'serial' ? ['--backend', 'unix:line'] : [];
    const refused = await shell.run('serve', device, ...backend, '--take-over', shell.path('a.sock'));
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringMatching(why)]);
  });
});

describe('ferry upgrade', () => {
  it('replaces servers under their clients, one after the other, with what they were told', async () => {
    writeFileSync(shell.path('disk.img'), Buffer.alloc(1 << 20));
    const disk = await shell.serve('nvme', 'disk.sock', '--backend', 'disk.img');
    const edu = await shell.serve('edu', 'edu.sock', '--control-path', shell.path('edu.control'));
    const client = await vmm('edu.sock');
    const { status, stdout, stderr } = await shell.run(
      'upgrade',
      shell.path('disk.sock'),
      `${edu.process.pid}`,
      '--json',
    );
    expect([status, stderr]).toEqual([0, '']);
    const lines = stdout.trim().split('\n');
    expect(lines.map((line) => lastJson(line)['result'])).toEqual(['upgraded', 'upgraded']);
    for (const line of lines) noteSuccessor(line);
    expect(lines.map((line) => lastJson(line)['before'])).toEqual([disk.process.pid, edu.process.pid]);
    for (const before of [disk, edu]) expect(await before.ended).toMatchObject({ status: 0 });
    expect(await liveness(client)).toBe(1);
    const again = await shell.run('upgrade', shell.path('edu.control'), '--json');
    expect(lastJson(again.stdout)).toMatchObject({
      result: 'upgraded',
      before: lastJson(lines[1] ?? '')['now'],
    });
    noteSuccessor(again.stdout);
    expect(await liveness(client)).toBe(1);
  });

  it('says that nothing has changed when the new process can not go on', async () => {
    writeFileSync(shell.path('disk.img'), Buffer.alloc(1 << 20));
    const disk = await shell.serve('nvme', 'disk.sock', '--backend', 'disk.img');
    rmSync(shell.path('disk.img'));
    const { status, stderr } = await shell.run('upgrade', shell.path('disk.sock'));
    expect(status).toBe(1);
    expect(stderr).toContain('is not upgraded');
    expect(stderr).toContain(`nothing has changed: process ${disk.process.pid} goes on`);
    expect((await shell.run('inspect', shell.path('disk.sock'))).status).toBe(0);
  });

  it('touches nothing when one of those that are named is none', async () => {
    const edu = await shell.serve('edu', 'edu.sock');
    const { status, stderr } = await shell.run('upgrade', shell.path('edu.sock'), '1');
    expect([status, stderr]).toEqual([2, expect.stringMatching(/process 1 /)]);
    expect(edu.process.exitCode).toBeNull();
  });
});

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
