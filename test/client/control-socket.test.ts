import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findControlSocket } from '../../src/client/index.ts';
import { native } from './fake-server.ts';

let folder = '';
const fds: number[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-control-'));
});
afterEach(() => {
  for (const fd of fds.splice(0)) native.close(fd);
  rmSync(folder, { recursive: true });
});

describe('findControlSocket', () => {
  it('finds the control socket beside the main one', () => {
    const main = join(folder, 'sock');
    fds.push(native.listen(`${main}.control`, 0o600, 1));
    expect(findControlSocket(main)).toBe(`${main}.control`);
  });

  it('leaves a control socket as it is, there or not', () => {
    expect(findControlSocket('/nowhere/sock.control')).toBe('/nowhere/sock.control');
  });

  it('takes the main socket of a server that has no other', () => {
    const main = join(folder, 'sock');
    expect(findControlSocket(main)).toBe(main);
    writeFileSync(`${main}.control`, 'no socket');
    expect(findControlSocket(main)).toBe(main);
  });
});
