import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { makeFolder, whoElse } from '../../src/vm/folder.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A file that stands for a socket, in a folder of its own. */
function socket(folderMode: number, socketMode: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-folder-'));
  folders.push(folder);
  const path = join(folder, 'socket');
  writeFileSync(path, '');
  chmodSync(path, socketMode);
  chmodSync(folder, folderMode);
  return path;
}

describe("the folder through which QEMU and Ferry exchange what is nobody else's business", () => {
  it('is beside the monitor, only for its owner, and goes when it is not needed', async () => {
    const monitor = socket(0o755, 0o755);
    const folder = await makeFolder(monitor, null);
    expect(dirname(folder.path)).toBe(dirname(monitor));
    expect(statSync(folder.path).mode & 0o777).toBe(0o700);
    writeFileSync(join(folder.path, 'memory-1'), 'secret');
    await folder.remove();
    expect(existsSync(folder.path)).toBe(false);
  });

  it('is where it is wanted', async () => {
    const monitor = socket(0o755, 0o755);
    const where = join(dirname(monitor), 'scratch');
    mkdirSync(where);
    expect(dirname((await makeFolder(monitor, where)).path)).toBe(where);
  });

  it.each([
    ['can not be made', () => '/nonexistent/place'],
    ['has too long a path for a socket', (folder: string) => join(folder, 'x'.repeat(90))],
  ])('is refused, with what to do, where it %s', async (_, place) => {
    const monitor = socket(0o755, 0o755);
    const where = place(dirname(monitor));
    if (where.startsWith(dirname(monitor))) mkdirSync(where);
    await expect(makeFolder(monitor, where)).rejects.toThrow('--scratch');
  });
});

describe('a socket that rules a guest', () => {
  it.each([
    ['nobody', 0o700, 0o777],
    ['the directory', 0o755, 0o755],
    ['the directory', 0o750, 0o700],
    ['everybody', 0o755, 0o777],
    ['everybody', 0o710, 0o770],
  ])('could be opened by %s', async (who, folderMode, socketMode) => {
    expect(await whoElse(socket(folderMode, socketMode))).toBe(who);
  });
});
