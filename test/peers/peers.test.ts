import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

/**
 * Drives served devices with two clients that share no code with Ferry: `client.c` and `client.py`, written from the
 * text of the protocol. Each prints a line per step, and these lines are what a failure shows.
 */

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const cSource = fileURLToPath(new URL('./client.c', import.meta.url));
const pythonSource = fileURLToPath(new URL('./client.py', import.meta.url));
const compilerFlags = ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror'];
const serverPatienceMs = 60_000;
const clientPatienceMs = 60_000;
const memorySize = '16M';

const devices = [
  { name: 'edu', options: [] },
  { name: 'memory', options: ['--size', memorySize] },
] as const;

interface Served {
  readonly process: ChildProcess;
  readonly path: string;
  readonly log: () => string;
}

interface Outcome {
  readonly status: number | null;
  readonly report: string;
}

let directory = '';
let cClient = '';
let served: Served[] = [];

/** Collects what a process says, in order, on both streams. */
function record(process: ChildProcess): () => string {
  let text = '';
  for (const stream of [process.stdout, process.stderr]) {
    stream?.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
  }
  return () => text;
}

function exitOf(process: ChildProcess, patienceMs: number): Promise<number | null> {
  if (process.exitCode !== null || process.signalCode !== null) return Promise.resolve(process.exitCode);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => process.kill('SIGKILL'), patienceMs);
    process.once('error', reject);
    process.once('close', (status) => {
      clearTimeout(timer);
      resolve(status);
    });
  });
}

/** Starts `ferry serve` and returns when both of its sockets are there. */
async function serve(device: string, name: string, options: readonly string[]): Promise<string> {
  const path = join(directory, `${name}.sock`);
  const process_ = spawn(process.execPath, [cli, 'serve', device, '--socket-path', path, ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const server = { process: process_, path, log: record(process_) };
  served.push(server);
  const deadline = Date.now() + serverPatienceMs;
  while (!existsSync(path) || !existsSync(`${path}.control`)) {
    if (process_.exitCode !== null || Date.now() > deadline) {
      throw new Error(
        `ferry serve ${device} does not listen (status ${process_.exitCode}):\n${server.log()}`,
      );
    }
    await delay(20);
  }
  return path;
}

async function run(program: string, args: readonly string[]): Promise<Outcome> {
  const client = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const output = record(client);
  const status = await exitOf(client, clientPatienceMs);
  const servers = served.map((server) => server.log()).filter((log) => log !== '');
  return { status, report: describeOutcome(status, output(), servers) };
}

function describeOutcome(status: number | null, output: string, servers: readonly string[]): string {
  const failed = output.split('\n').filter((line) => line.startsWith('not ok'));
  const logs = servers.map((log) => `the server said:\n${log}`);
  return [`status ${status ?? 'killed: it took too long'}`, ...failed, 'all steps:', output, ...logs].join(
    '\n',
  );
}

function expectSuccess(outcome: Outcome): void {
  expect(outcome.status, outcome.report).toBe(0);
}

const hasPython =
  spawnSync('python3', ['-c', 'import os, sys; sys.exit(not hasattr(os, "eventfd"))']).status === 0;

beforeAll(() => {
  if (!existsSync(cli)) throw new Error(`${cli} is missing: run "npm run build" first`);
  directory = mkdtempSync(join(tmpdir(), 'ferry-peers-'));
  cClient = join(directory, 'client');
  const { CC: compiler = 'cc' } = process.env;
  execFileSync(compiler, [...compilerFlags, cSource, '-o', cClient], { stdio: 'pipe' });
});

/** Every server ends cleanly on SIGTERM and takes its sockets with it, whatever its clients did to it. */
afterEach(async () => {
  const ending = served;
  served = [];
  const statuses = ending.map(async (server) => {
    server.process.kill('SIGTERM');
    return { status: await exitOf(server.process, serverPatienceMs), log: server.log(), path: server.path };
  });
  for (const { status, log, path } of await Promise.all(statuses)) {
    expect(status, `ferry serve after SIGTERM:\n${log}`).toBe(0);
    expect(existsSync(path) || existsSync(`${path}.control`), `${path} was left behind`).toBe(false);
  }
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.each(devices)('a client that is no part of Ferry and a served $name', ({ name, options }) => {
  it('a C client drives it as QEMU does', { timeout: 2 * clientPatienceMs }, async () => {
    const path = await serve(name, name, options);
    expectSuccess(await run(cClient, [name, path]));
  });

  it('a C client drives it with a twin socket', { timeout: 2 * clientPatienceMs }, async () => {
    const path = await serve(name, name, options);
    expectSuccess(await run(cClient, [name, path, '--twin']));
  });

  it('a C client drives it twice, one connection after the other', {
    timeout: 3 * clientPatienceMs,
  }, async () => {
    const path = await serve(name, name, options);
    expectSuccess(await run(cClient, [name, path]));
    expectSuccess(await run(cClient, [name, path]));
  });

  it('a C client moves its state from one server to another', { timeout: 2 * clientPatienceMs }, async () => {
    const source = await serve(name, `${name}-source`, options);
    const destination = await serve(name, `${name}-destination`, options);
    expectSuccess(await run(cClient, ['migrate', name, source, destination]));
  });

  it('a Python client over plain sockets drives it and walks its migration states', {
    timeout: 2 * clientPatienceMs,
  }, async ({ skip }) => {
    skip(!hasPython, 'python3 with os.eventfd (3.10 or later) is not installed');
    const path = await serve(name, name, options);
    expectSuccess(await run('python3', ['-B', pythonSource, name, path]));
  });
});
