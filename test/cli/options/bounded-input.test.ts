import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readBounded } from '../../../src/cli/options/bounded-input.ts';
import { Errno } from '../../../src/errors/index.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-input-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A file of this text. */
function file(text: string): string {
  const path = join(folder, 'input');
  writeFileSync(path, text);
  return path;
}

it('reads what is as long as the limit, and characters that lie across pieces', async () => {
  const text = 'ü'.repeat(100_001);
  expect(await readBounded(file(text), 200_002)).toBe(text);
  expect(await readBounded(file(''), 0)).toBe('');
});

it('refuses one byte more', async () => {
  await expect(readBounded(file('12345'), 4)).rejects.toMatchObject({
    code: 'ERR_INPUT_SIZE',
    errno: Errno.EFBIG,
    message: `${join(folder, 'input')} has more than 4 bytes`,
  });
});

it('ends an endless input', async () => {
  await expect(readBounded('/dev/zero', 1_000_000)).rejects.toMatchObject({ code: 'ERR_INPUT_SIZE' });
});

it.each([
  ['missing', Errno.ENOENT],
  ['.', 21], // EISDIR
])('tells the errno of %s', async (name, errno) => {
  await expect(readBounded(join(folder, name), 10)).rejects.toMatchObject({ code: 'ERR_INPUT', errno });
});
