import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect } from 'vitest';
import { openFds } from '../helpers/open-fds.ts';

/** How long what has been closed may take to go, in milliseconds. */
const GRACE_MS = 5_000;

/** Opened by Node and the libraries of tests whenever they need it, and kept. */
const KEPT = /\/node_modules\/|\/dev\/|anon_inode:\[(eventpoll|io_uring)\]|\/proc\//;

let before: ReadonlySet<string>;

/** Files, sockets, shared memory and processes of this process. */
function belongings(): string[] {
  return [...openFds().filter((fd) => !KEPT.test(fd)), ...children()];
}

function children(): string[] {
  return readdirSync('/proc/self/task').flatMap((task) =>
    read(`/proc/self/task/${task}/children`)
      .split(' ')
      .filter((pid) => pid !== '')
      .map((pid) => `process ${pid} ${read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`),
  );
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}

// Asked for with FERRY_LEFTOVERS=1: what is on its way out needs time on a busy machine.
if (process.env['FERRY_LEFTOVERS'] === '1') {
  beforeAll(() => {
    before = new Set(belongings());
  });

  // Hooks of a setup file come last.
  afterAll(async () => {
    const left = (): string[] => belongings().filter((each) => !before.has(each));
    const deadline = Date.now() + GRACE_MS;
    while (left().length > 0 && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(left(), 'what this file leaves open').toEqual([]);
  });
}
