import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const example = (name: string): string => resolve(import.meta.dirname, name);

describe('the examples', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ferry-example-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  async function serveCounter(path: string): Promise<ChildProcess> {
    const server = spawn(process.execPath, [example('counter.js'), path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(server.stdout, 'data');
    expect(String(line)).toContain(`listening on ${path}`);
    return server;
  }

  it('counter.js serves a device that drive.js drives, and ends cleanly', async () => {
    const path = join(folder, 'counter.sock');
    const server = await serveCounter(path);
    const { stdout } = await run(process.execPath, [example('drive.js'), path]);
    expect(stdout).toContain('vendor 494f, device dc8');
    expect(stdout).toMatch(/an interrupt between tick \d+ and tick \d+/);
    server.kill('SIGTERM');
    expect(await once(server, 'exit')).toEqual([0, null]);
    expect(existsSync(path)).toBe(false);
  });

  it('move.js moves a device that goes on counting', async () => {
    const { stdout } = await run(process.execPath, [example('move.js')]);
    expect(stdout).toMatch(/moved \d+ bytes\nperiod is 12345\nticking: true\n/);
  });

  it('two-hosts.sh moves a group over TLS', async () => {
    // As a shell splits $FERRY into words, where this project is may not be in it.
    const FERRY = join(folder, 'ferry');
    symlinkSync(resolve(import.meta.dirname, '../dist/cli/main.js'), FERRY);
    const env = { ...process.env, FERRY, DOWNTIME: '60000', TMPDIR: folder, NO_COLOR: '1' };
    const { stdout } = await run('sh', [example('two-hosts.sh')], { env });
    expect(stdout).toContain('can be moved to tls:127.0.0.1:');
    expect(stdout).toMatch(/The devices run at tls:127\.0\.0\.1:\d+;/);
    expect(stdout).toMatch(/disk-b\.sock\.control is in RUNNING\n.*edu-b\.sock\.control is in RUNNING\n$/);
  }, 120_000);
});
