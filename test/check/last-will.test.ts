import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LastWill } from '../../src/check/last-will.ts';
import { until } from '../helpers/until.ts';

let folder = '';
const started: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry will '));
});
afterEach(async () => {
  for (const child of started.splice(0)) {
    child.kill('SIGKILL');
    await until(() => child.exitCode !== null || child.signalCode !== null);
  }
  rmSync(folder, { recursive: true, force: true });
});

/** A process group of its own, with two processes; its number. */
function group(): { readonly child: ChildProcess; readonly number: string } {
  const child = spawn('/bin/sh', ['-c', 'sleep 600 & exec sleep 600'], { detached: true, stdio: 'ignore' });
  started.push(child);
  return { child, number: String(child.pid) };
}

const alive = (number: string): boolean => {
  try {
    return process.kill(-Number(number), 0);
  } catch {
    return false;
  }
};

/** A folder with something in it. */
function full(name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  writeFileSync(join(path, 'file'), '');
  return path;
}

const noted = (will: LastWill, what: string): Promise<void> =>
  new Promise((resolve) => will.add(what, resolve));

describe('a last will', () => {
  it('ends the groups and removes the files that are left, and nothing else', async () => {
    const [left, dropped] = [group(), group()];
    const [leftFiles, droppedFiles] = [full('a * left'), full('a * left too')];
    const will = new LastWill();
    for (const what of [left.number, dropped.number, leftFiles, droppedFiles]) await noted(will, what);
    will.drop(dropped.number);
    will.drop(droppedFiles);
    will.end();
    await until(() => !existsSync(leftFiles));
    await until(() => left.child.signalCode === 'SIGKILL');
    await until(() => !alive(left.number));
    expect(alive(dropped.number)).toBe(true);
    expect(existsSync(join(droppedFiles, 'file'))).toBe(true);
    process.kill(-Number(dropped.number), 'SIGKILL');
  });
});
