import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { expectNoFdLeak, native } from './support.ts';

expectNoFdLeak();

describe('flock', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ferry-flock-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('is had by one open file at a time, until its last fd is closed', () => {
    const path = join(folder, 'file');
    const first = openSync(path, 'w');
    const second = openSync(path, 'r');
    expect(native.flock(first)).toBe(0);
    expect(native.flock(first), 'again').toBe(0);
    expect(native.flock(second)).toBe(-Errno.EAGAIN);
    const duplicate = native.dup(first);
    closeSync(first);
    expect(native.flock(second)).toBe(-Errno.EAGAIN);
    native.close(duplicate);
    expect(native.flock(second)).toBe(0);
    closeSync(second);
  });

  it('reports an fd that is none', () => {
    expect(native.flock(-1)).toBe(-Errno.EBADF);
    expect(() => native.flock(1.5)).toThrow(RangeError);
  });
});
