import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect } from 'vitest';
import { CONTROL_LENGTH, check, loadNative, type Native, type PumpHandle } from '../../src/native/index.ts';

export const native: Native = loadNative();

const { FERRY_NATIVE: named } = process.env;
/** What the loader loads: for children and workers, which run plain JavaScript. */
export const binary: string =
  named ??
  ['', '-musl']
    .map((libc) =>
      fileURLToPath(new URL(`../../prebuilds/linux-${process.arch}${libc}/ferry.node`, import.meta.url)),
    )
    .find((path) => existsSync(path)) ??
  '';

/** poll(2) events. */
export const POLLIN = 1;
export const POLLOUT = 4;

/** As {@link fdFlags} shows it. */
export const O_CLOEXEC = 0o2000000;
export const O_NONBLOCK = 0o4000;

/** The flags of an open descriptor (proc_pid_fdinfo(5)). */
export function fdFlags(fd: number): number {
  const flags = /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
  return Number.parseInt(flags ?? '0', 8);
}

/** The descriptors that are open in this process. */
export function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}

/** Fails every test of the file that leaves a descriptor open. */
export function expectNoFdLeak(): void {
  let before = 0;
  beforeEach(() => {
    before = openFds();
  });
  afterEach(() => {
    expect(openFds(), 'open descriptors').toBe(before);
  });
}

/** A connected pair of sockets. */
export function pair(): readonly [number, number] {
  const out = new Int32Array(2);
  check(native.socketpair(out), 'socketpair');
  return [out[0] ?? -1, out[1] ?? -1];
}

export function closeAll(fds: Iterable<number>): void {
  for (const fd of fds) check(native.close(fd), 'close', { fd });
}

/** Sends text, with fds if there are any. */
export function sendText(fd: number, text: string, fds: readonly number[] | null = null): number {
  const bytes = Buffer.from(text);
  return native.send(fd, bytes, 0, bytes.length, null, 0, 0, fds);
}

/** One receive: its result, the text and the fds. */
export function receiveText(fd: number, length = 4096, maxFds = 16) {
  const into = new Uint8Array(length);
  const fds = new Int32Array(1 + maxFds);
  const result = native.receive(fd, into, 0, length, fds, 0);
  const text = Buffer.from(into.subarray(0, Math.max(result, 0))).toString();
  return { result, text, fds: Array.from(fds.subarray(1, 1 + (fds[0] ?? 0))) };
}

/** The lines of /proc/self/maps that mention `name`. */
export function mappingsOf(name: string): string[] {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes(name));
}

/** Runs `action` with a fresh directory that is removed afterwards. */
export function withDirectory<T>(action: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'ferry-native-'));
  try {
    return action(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

export interface ChildResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

/** JavaScript's own prelude of {@link runChild} and of workers: the addon is `native`, a socket pair is `pair()`. */
export const prelude = `
  const binary = ${JSON.stringify(binary)};
  const native = require(binary);
  const fs = require('node:fs');
  const pair = () => { const out = new Int32Array(2); native.socketpair(out); return out; };
  const say = (text) => fs.writeSync(1, text + '\\n');
  const sendText = (fd, text) => native.send(fd, Buffer.from(text), 0, text.length, null, 0, 0, null);
  const pump = (fd, onReceive, control = [0, 4096, 0, 500], onWritable = () => {}) => {
    const rx = new Uint8Array(4096), tx = new Uint8Array(8), fds = new Int32Array(9), all = new Int32Array(10);
    all.set(control);
    return native.pumpStart(fd, rx, tx, fds, all, (n) => onReceive(n, rx, fds), onWritable);
  };
`;

/** Runs `code` after the prelude in a Node process of its own; `shell` may limit that process first. */
export function runChild(code: string, { shell = '', flags = [] as string[] } = {}): Promise<ChildResult> {
  const command = `${shell === '' ? '' : `${shell}; `}ulimit -c 0; exec "$@"`;
  const args = ['-c', command, 'sh', process.execPath, ...flags, '-e', prelude + code];
  return new Promise((resolve, reject) => {
    let output = '';
    const child = spawn('sh', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', (status, signal) => resolve({ status, signal, output }));
  });
}

export { until } from '../helpers/until.ts';

/** The size of a page, and so the unit of mappings. */
export const PAGE = 4096;

/** A sealed memfd of `pages` pages and one mapping of all of it. */
export function mapped(name: string, pages = 4) {
  const fd = check(native.memfd(name, pages * PAGE, true), 'memfd');
  return { fd, buffer: check(native.map(fd, 0, pages * PAGE, 3), 'map') };
}

export interface PumpOptions {
  readonly length?: number;
  readonly spinUs?: number;
  readonly budgetUs?: number;
  /** What the pump may be told to send. */
  readonly tx?: Uint8Array;
  readonly onReceive?: (result: number) => void;
  readonly onWritable?: () => void;
}

/** A pump that records what it receives. */
export function pump(fd: number, options: PumpOptions = {}) {
  const {
    length = 4096,
    spinUs = 0,
    budgetUs = 500,
    tx = new Uint8Array(8),
    onReceive,
    onWritable,
  } = options;
  const rx = new Uint8Array(4096);
  const fds = new Int32Array(9);
  const control = new Int32Array(CONTROL_LENGTH);
  control.set([0, length, spinUs, budgetUs]);
  const results: number[] = [];
  const texts: string[] = [];
  const received: number[] = [];
  const record = (result: number) => {
    const offset = control[0] ?? 0;
    results.push(result);
    if (result > 0) texts.push(Buffer.from(rx.subarray(offset, offset + result)).toString());
    received.push(...fds.subarray(1, 1 + (fds[0] ?? 0)));
    onReceive?.(result);
  };
  const handle = check<PumpHandle>(
    native.pumpStart(fd, rx, tx, fds, control, record, () => onWritable?.()),
    'pumpStart',
  );
  return { handle, rx, control, results, texts, received };
}

/** Lets the event loop turn a few times. */
export async function turns(count = 5): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
