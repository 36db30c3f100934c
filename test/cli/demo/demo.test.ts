import { randomFillSync } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DemoStart } from '../../../src/cli/demo/run-demo.ts';
import { runDemo } from '../../../src/cli/demo/run-demo.ts';
import { until } from '../../helpers/until.ts';
import { FERRY, lastJson, Shell } from '../ferry.ts';

let shell: Shell;

beforeEach(() => {
  shell = new Shell();
});
afterEach(async () => {
  await shell.close();
});

const folders = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('ferry-demo-'));

/** A process that nobody has waited for yet has ended all the same. */
function isAlive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

describe('ferry demo', () => {
  it('moves a device under load and verifies everything', async () => {
    const { status, stdout, stderr } = await shell.run('demo', '--size', '2M');
    expect(stderr).toBe('');
    expect(stdout).toContain('✓ all 2,097,152 bytes are what the guest wrote');
    expect(stdout).toMatch(/✓ [\d,]+ interrupts: none lost, none doubled/);
    expect(stdout).not.toContain('✗');
    expect(stdout.trim().endsWith('Verified: nothing was lost.')).toBe(true);
    expect(status).toBe(0);
  });

  it('prints one JSON object on its last line', async () => {
    const { status, stdout } = await shell.run('demo', '--size', '2M', '--json');
    const result = lastJson(stdout);
    expect(result).toMatchObject({ verified: true, downtimeMs: expect.any(Number) });
    expect(result['bytes']).toMatchObject({ total: expect.any(Number), preCopy: expect.any(Number) });
    const checks = result['checks'];
    expect(Array.isArray(checks) && checks.map(({ name }) => name)).toEqual([
      'memory',
      'file',
      'settings',
      'interrupts',
      'dma',
      'clock',
      'states',
    ]);
    expect(status).toBe(0);
  });

  it('takes a file of any size, and leaves it alone', async () => {
    const content = randomFillSync(Buffer.alloc(1_234_567));
    writeFileSync(shell.path('file'), content);
    const { status, stdout } = await shell.run('demo', 'file', '--json');
    expect(lastJson(stdout)).toMatchObject({ verified: true });
    expect(status).toBe(0);
    expect(readFileSync(shell.path('file'))).toEqual(content);
  });

  it('refuses a file that is not there, or does not fit', async () => {
    expect(await shell.run('demo', 'nothing')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('nothing'),
    });
    writeFileSync(shell.path('file'), Buffer.alloc(5000));
    const { status, stderr } = await shell.run('demo', 'file', '--size', '4K');
    expect(stderr).toContain('does not fit into 4096');
    expect(status).toBe(2);
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('ends what it started on %s', async (signal) => {
    const before = folders();
    const running = shell.start(['demo', '--size', '64M']);
    await running.sees('destination  process');
    const pids = [...running.stdout().matchAll(/process (\d+)/g)].map(([, pid]) => Number(pid));
    const { status, stderr } = await running.kill(signal);
    expect(status).toBe(1);
    expect(stderr).toContain('interrupted; everything that was started has been ended');
    expect(pids.length).toBe(2);
    expect(pids.filter(isAlive)).toEqual([]);
    expect(folders()).toEqual(before);
  });

  it('leaves no servers behind when it is killed', async () => {
    const before = folders();
    const running = shell.start(['demo', '--size', '2M']);
    await running.sees('destination  process');
    const pids = [...running.stdout().matchAll(/process (\d+)/g)].map(([, pid]) => Number(pid));
    await running.kill('SIGKILL');
    await until(() => !pids.some(isAlive));
    for (const name of folders().filter((each) => !before.includes(each)))
      rmSync(join(tmpdir(), name), { recursive: true });
  });
});

describe('a demo that something is wrong with', () => {
  const options = { ferry: FERRY, file: null, size: 1024 * 1024 };

  it('is not verified after one wrong byte', async () => {
    const result = await runDemo({
      ...options,
      beforeVerify: async (guest) => {
        const { mapped } = guest.attachment;
        mapped[700_000] = (mapped[700_000] ?? 0) ^ 1;
      },
    });
    expect(result.verified).toBe(false);
    expect(result.checks.filter(({ ok }) => !ok)).toMatchObject([
      { name: 'memory', said: expect.stringMatching(/^1 of/) },
    ]);
  });

  it('is not verified after one interrupt too many, or a setting that is gone', async () => {
    const result = await runDemo({
      ...options,
      beforeVerify: async (guest) => {
        await guest.attachment.client.triggerIrq(2, 1, 1);
        await guest.attachment.client.writeU16(7, 0x04, 0);
      },
    });
    expect(result.verified).toBe(false);
    expect(result.checks.filter(({ ok }) => !ok).map(({ name }) => name)).toEqual(['settings', 'interrupts']);
  });

  it('fails when a server dies, says which, and leaves nothing behind', async () => {
    const before = folders();
    const started: DemoStart[] = [];
    const onStart = (start: DemoStart): void => {
      started.push(start);
      process.kill(start.sourcePid, 'SIGKILL');
    };
    await expect(runDemo({ ...options, onStart })).rejects.toThrow();
    await sleep(50);
    expect(started.flatMap((each) => [each.sourcePid, each.destinationPid]).filter(isAlive)).toEqual([]);
    expect(folders()).toEqual(before);
  });

  it('fails with what the server said when it does not start', async () => {
    await expect(runDemo({ ...options, size: 5000 })).rejects.toThrow(
      /a server of the demo ended with status 1: ferry: /,
    );
  });
});
