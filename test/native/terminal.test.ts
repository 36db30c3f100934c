import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { check } from '../../src/native/index.ts';
import { expectNoFdLeak, fdFlags, native, O_CLOEXEC } from './support.ts';

expectNoFdLeak();

const POLLHUP = 0x10;

function hungUp(fd: number): boolean {
  const set = Int32Array.of(fd, 1, 0);
  return native.poll(set, 1, 0) > 0 && ((set[2] ?? 0) & POLLHUP) !== 0;
}

function openSlave(path: string): number {
  return openSync(path, constants.O_RDWR | constants.O_NOCTTY);
}

function readText(fd: number): string {
  const into = Buffer.alloc(100);
  return into.toString('latin1', 0, readSync(fd, into));
}

describe('pseudoTerminal', () => {
  it('carries every byte both ways as it is, also after its slave was closed', () => {
    const { fd, path } = check(native.pseudoTerminal(), 'pseudoTerminal');
    expect(hungUp(fd), 'before anybody came').toBe(true);
    for (const [to, from] of [
      ['\x03\x04\r\n\xff', 'one\r\n'],
      ['second\n', '\x00\x1a'],
    ] as const) {
      const slave = openSlave(path);
      expect(hungUp(fd)).toBe(false);
      writeSync(fd, Buffer.from(to, 'latin1'));
      expect(readText(slave)).toBe(to);
      writeSync(slave, Buffer.from(from, 'latin1'));
      expect(readText(fd)).toBe(from);
      expect(() => readText(fd), 'no echo').toThrow(/EAGAIN/);
      closeSync(slave);
      expect(hungUp(fd)).toBe(true);
    }
    native.close(fd);
  });

  it('is neither waited for nor inherited', () => {
    const { fd } = check(native.pseudoTerminal(), 'pseudoTerminal');
    expect(fdFlags(fd) & (O_CLOEXEC | constants.O_NONBLOCK)).toBe(O_CLOEXEC | constants.O_NONBLOCK);
    native.close(fd);
  });
});
