import { randomFillSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../../src/client/index.ts';
import { lastJson, Shell } from '../ferry.ts';

const MIB = 1024 * 1024;
const content = randomFillSync(new Uint8Array(4 * MIB));
let shell: Shell;

beforeEach(() => {
  shell = new Shell();
});
afterEach(async () => {
  await shell.close();
});

async function servers(size = '4M'): Promise<void> {
  writeFileSync(shell.path('image'), content);
  await shell.serve('memory', 'a.sock', '--image', shell.path('image'));
  await shell.serve('memory', 'b.sock', '--size', size);
}

async function stateOf(socket: string): Promise<unknown> {
  return lastJson((await shell.run('state', shell.path(socket), '--json')).stdout)['state'];
}

/** What is left after the first round is little enough on any machine. */
const PATIENT = ['--downtime-limit', '60000'];

async function memoryOf(socket: string): Promise<Uint8Array> {
  const client = await DeviceClient.connect(shell.path(socket));
  try {
    return await client.read(2, 0, content.length);
  } finally {
    client.close();
  }
}

/** The phases that --json told of on standard error, in order. */
function phasesIn(stderr: string): unknown[] {
  const phases = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).progress.phase);
  return phases.filter((phase, i) => phase !== phases[i - 1]);
}

describe('ferry migrate', () => {
  it('moves the device and sums up', async () => {
    await servers();
    const words = [shell.path('a.sock'), shell.path('b.sock'), ...PATIENT];
    const { status, stdout, stderr } = await shell.run('migrate', ...words);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^The device runs at .*b\.sock\.control; .*a\.sock\.control has stopped\.\n/);
    expect(stdout).toMatch(/\n {2}pre-copy +[\d.]+ m?s +4\.\d MiB +[\d.]+ [KM]iB\/s\n/);
    expect(stdout).toMatch(
      /\n {2}\d rounds? of pre-copy: little enough was left\n {2}downtime [\d.]+ m?s\n$/,
    );
    expect(status).toBe(0);
    expect([await stateOf('a.sock'), await stateOf('b.sock')]).toEqual(['STOP', 'RUNNING']);
    expect(Buffer.compare(await memoryOf('b.sock'), content)).toBe(0);
  });

  it('prints the report as JSON, and the progress too', async () => {
    await servers();
    const { status, stdout, stderr } = await shell.run(
      'migrate',
      shell.path('a.sock'),
      shell.path('b.sock'),
      '--json',
      ...PATIENT,
    );
    expect(status).toBe(0);
    expect(stdout.trim().split('\n').length).toBe(1);
    expect(lastJson(stdout)).toMatchObject({
      owner: 'destination',
      source: shell.path('a.sock.control'),
      destination: shell.path('b.sock.control'),
      iterations: 1,
      convergence: 'small',
      downtimeMs: expect.any(Number),
      bytes: { total: expect.any(Number), preCopy: expect.any(Number), stopCopy: expect.any(Number) },
    });
    const all = ['check', 'prepare', 'pre-copy', 'stop', 'stop-copy', 'verify', 'switch', 'run', 'clean-up'];
    expect(phasesIn(stderr)).toEqual(all);
  });

  it('stops at once with --no-pre-copy', async () => {
    await servers();
    const words = [shell.path('a.sock'), shell.path('b.sock'), '--no-pre-copy', '--json'];
    const report = lastJson((await shell.run('migrate', ...words)).stdout);
    expect(report).toMatchObject({ iterations: 0, convergence: null, bytes: { preCopy: 0 } });
    expect(Buffer.compare(await memoryOf('b.sock'), content)).toBe(0);
  });

  it('goes back again', async () => {
    await servers();
    await shell.run('migrate', shell.path('a.sock'), shell.path('b.sock'));
    const again = await shell.run('migrate', shell.path('a.sock'), shell.path('b.sock'));
    expect(again).toMatchObject({ status: 1 });
    expect(again.stderr).toContain('the migration is refused: the source is in STOP');
    await shell.run('state', shell.path('a.sock'), '--reset', '--force');
    expect(await shell.run('migrate', shell.path('b.sock'), shell.path('a.sock'))).toMatchObject({
      status: 0,
    });
    expect([await stateOf('a.sock'), await stateOf('b.sock')]).toEqual(['RUNNING', 'STOP']);
    expect(Buffer.compare(await memoryOf('a.sock'), content)).toBe(0);
  });

  it('refuses a destination that is another device, and changes nothing', async () => {
    await servers('8M');
    const { status, stdout } = await shell.run(
      'migrate',
      shell.path('a.sock'),
      shell.path('b.sock'),
      '--json',
    );
    expect(status).toBe(1);
    expect(lastJson(stdout)).toMatchObject({
      error: {
        code: 'ERR_MIGRATION_REFUSED',
        owner: 'source',
        message: expect.stringContaining('the size of region 2'),
      },
    });
    expect([await stateOf('a.sock'), await stateOf('b.sock')]).toEqual(['RUNNING', 'RUNNING']);
  });

  it('refuses to move a device to itself', async () => {
    await servers();
    const { status, stderr } = await shell.run('migrate', shell.path('a.sock'), shell.path('a.sock.control'));
    expect(status).toBe(1);
    expect(stderr).toContain("can't be both the source and the destination");
    const disguised = await shell.run('migrate', shell.path('a.sock'), './a.sock.control');
    expect(disguised.status).toBe(1);
    expect(disguised.stderr).toContain('both names lead to the same device');
    expect(await stateOf('a.sock')).toBe('RUNNING');
    expect(Buffer.compare(await memoryOf('a.sock'), content)).toBe(0);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('is cancelled by %s: the source runs on', async (signal) => {
    await servers();
    const words = [shell.path('a.sock'), shell.path('b.sock'), '--max-bandwidth', '1M', '--json'];
    const running = shell.start(['migrate', ...words]);
    await running.sees('"phase":"pre-copy"');
    const { status, stdout } = await running.kill(signal);
    expect(status).toBe(1);
    expect(lastJson(stdout)).toMatchObject({
      error: { code: 'ERR_MIGRATION_CANCELLED', owner: 'source', phase: 'pre-copy', sourceState: 'RUNNING' },
    });
    expect([await stateOf('a.sock'), await stateOf('b.sock')]).toEqual(['RUNNING', 'RUNNING']);
  });

  it('keeps to --max-bandwidth', async () => {
    await servers();
    const words = [shell.path('a.sock'), shell.path('b.sock'), '--max-bandwidth', '4M', '--json'];
    const report = lastJson((await shell.run('migrate', ...words)).stdout);
    expect(report['totalMs']).toBeGreaterThan(800);
  });

  it('tells of a device that its VMM has reset meanwhile', async () => {
    await servers();
    const vmm = await DeviceClient.connect(shell.path('a.sock'));
    const words = [shell.path('a.sock'), shell.path('b.sock'), '--max-bandwidth', '1M', '--json'];
    const running = shell.start(['migrate', ...words]);
    await running.sees('"phase":"pre-copy"');
    await vmm.reset();
    const { status, stdout } = await running.ended;
    vmm.close();
    expect(status).toBe(1);
    expect(lastJson(stdout)).toMatchObject({
      error: { code: 'ERR_SESSION_ABORTED', errno: 'ENODEV', owner: 'source' },
    });
    expect([await stateOf('a.sock'), await stateOf('b.sock')]).toEqual(['RUNNING', 'RUNNING']);
  });
});
