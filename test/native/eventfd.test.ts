import { writeSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { makeBlocking } from '../helpers/blocking.ts';
import {
  closeAll,
  expectNoFdLeak,
  fdFlags,
  native,
  O_CLOEXEC,
  O_NONBLOCK,
  pair,
  receiveText,
} from './support.ts';

expectNoFdLeak();

/** Counts an eventfd up to `less` below the most that it can hold (eventfd(2)). */
function fill(fd: number, less = 0n): void {
  const count = new BigUint64Array([0xffff_ffff_ffff_fffen - less]);
  expect(writeSync(fd, new Uint8Array(count.buffer))).toBe(8);
}

describe('eventfd', () => {
  it('adds up signals and clears them when read', () => {
    const fd = native.eventfd(2);
    expect(native.eventfdSignal(fd, 3)).toBe(0);
    expect(native.eventfdRead(fd)).toBe(5);
    expect(native.eventfdRead(fd)).toBe(-Errno.EAGAIN);
    closeAll([fd]);
  });

  it('clamps a count that no int32 can hold', () => {
    const fd = native.eventfd(0);
    native.eventfdSignal(fd, Number.MAX_SAFE_INTEGER);
    expect(native.eventfdRead(fd)).toBe(2 ** 31 - 1);
    closeAll([fd]);
  });

  it('says EAGAIN rather than wait while the counter is full, also of a blocking eventfd, which stays so', () => {
    const fd = native.eventfd(0);
    fill(fd);
    makeBlocking(fd);
    expect(fdFlags(fd) & O_NONBLOCK).toBe(0);
    expect(native.eventfdSignal(fd, 1)).toBe(-Errno.EAGAIN);
    expect(native.eventfdRead(fd)).toBe(2 ** 31 - 1);
    expect(native.eventfdSignal(fd, 1)).toBe(0);
    expect(native.eventfdRead(fd)).toBe(1);
    expect(fdFlags(fd) & O_NONBLOCK).toBe(0);
    closeAll([fd]);
  });

  it('says EAGAIN rather than wait for a signal, also of a blocking eventfd', () => {
    const fd = native.eventfd(0);
    makeBlocking(fd);
    expect(native.eventfdRead(fd)).toBe(-Errno.EAGAIN);
    closeAll([fd]);
  });

  it('takes what there is room for, to the last one', () => {
    const fd = native.eventfd(0);
    fill(fd);
    native.eventfdRead(fd);
    fill(fd, 1n);
    expect(native.eventfdSignal(fd, 1)).toBe(0);
    expect(native.eventfdSignal(fd, 1)).toBe(-Errno.EAGAIN);
    closeAll([fd]);
  });

  it('signals anything that takes eight bytes', () => {
    const ends = pair();
    expect(native.eventfdSignal(ends[0], 1)).toBe(0);
    expect(receiveText(ends[1]).result).toBe(8);
    closeAll(ends);
  });

  it('reports what can not be signalled or read', () => {
    const ends = pair();
    closeAll([ends[1]]);
    expect(native.eventfdSignal(-1, 1)).toBe(-Errno.EBADF);
    expect(native.eventfdRead(-1)).toBe(-Errno.EBADF);
    expect(native.eventfdSignal(ends[0], 1)).toBe(-Errno.EPIPE);
    expect(native.eventfdRead(ends[0])).toBe(-Errno.EINVAL);
    expect(() => native.eventfdSignal(ends[0], 0)).toThrow(RangeError);
    expect(() => native.eventfd(-1)).toThrow(RangeError);
    closeAll([ends[0]]);
  });
});

describe('close and dup', () => {
  it('duplicates an fd beyond the standard ones and closes each by itself', () => {
    const fd = native.eventfd(1);
    const copy = native.dup(fd);
    expect(copy).toBeGreaterThan(2);
    expect(fdFlags(fd) & O_CLOEXEC).toBe(O_CLOEXEC);
    expect(fdFlags(copy) & O_CLOEXEC).toBe(O_CLOEXEC);
    closeAll([fd]);
    expect(native.eventfdRead(copy)).toBe(1);
    closeAll([copy]);
    expect(native.close(copy)).toBe(-Errno.EBADF);
    expect(native.dup(copy)).toBe(-Errno.EBADF);
  });
});
