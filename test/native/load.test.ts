import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { binary } from './support.ts';

/** The loader anew, as in a fresh process with FERRY_NATIVE set to `path`. */
async function freshLoad(path: string) {
  vi.stubEnv('FERRY_NATIVE', path);
  vi.resetModules();
  const fresh = await import('../../src/native/load.ts');
  return fresh.loadNative();
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('loadNative', () => {
  it('loads once', () => {
    expect(loadNative()).toBe(loadNative());
  });

  it('has every function of the interface and no other', () => {
    const source = readFileSync(
      fileURLToPath(new URL('../../src/native/native.ts', import.meta.url)),
      'utf8',
    );
    const body = source.slice(source.indexOf('export interface Native {'), source.indexOf('\n}\n'));
    const declared = [...body.matchAll(/^ {2}(\w+)\(/gm)].map((match) => match[1]);
    expect(Object.keys(loadNative()).sort()).toEqual(declared.sort());
  });

  it('loads the binary that FERRY_NATIVE names', async () => {
    const native = await freshLoad(binary);
    expect(native.guardedFaults()).toBe(0);
  });

  it('says what is missing and how to build it', async () => {
    await expect(freshLoad('/nowhere/ferry.node')).rejects.toMatchObject({
      code: 'ERR_NATIVE',
      errno: Errno.ENOENT,
      operation: 'loadNative',
      message: expect.stringMatching(/\/nowhere\/ferry\.node.*npm run build/s),
    });
  });

  it('refuses what lacks a function of the interface, such as an older binary', async () => {
    await expect(freshLoad('node:path')).rejects.toThrow('does not fit this version');
  });
});
