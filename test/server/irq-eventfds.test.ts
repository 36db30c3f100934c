import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { IrqEventfds, requireEventfds } from '../../src/server/irq-eventfds.ts';
import { isBlocking, makeBlocking } from '../helpers/blocking.ts';
import { openFds } from '../helpers/open-fds.ts';

const native = loadNative();
const MSIX = 2;
const INTX = 0;
/** The most that an eventfd can hold (eventfd(2)). */
const FULL = 0xffff_ffff_ffff_fffen;

describe('the eventfds of SET_IRQS', () => {
  const peers: number[] = [];
  afterEach(() => {
    for (const fd of peers.splice(0)) native.close(fd);
  });

  /** An eventfd as a client has it, and the copy that it sends. */
  function sent(): { readonly theirs: number; readonly ours: number } {
    const theirs = native.eventfd(0);
    peers.push(theirs);
    return { theirs, ours: native.dup(theirs) };
  }

  it('are signalled by what assigning them returned', () => {
    const eventfds = new IrqEventfds(native);
    const { theirs, ours } = sent();
    const trigger = eventfds.assign(MSIX, 3, ours);
    trigger?.();
    trigger?.();
    expect(native.eventfdRead(theirs)).toBe(2);
    eventfds.releaseAll();
  });

  it('are closed when they are replaced, taken away, released by index, and in the end', () => {
    const eventfds = new IrqEventfds(native);
    const fds = Array.from({ length: 5 }, sent);
    const before = openFds();
    const [a, b, c, d, e] = fds.map(({ ours }) => ours);
    eventfds.assign(MSIX, 0, a ?? -1);
    eventfds.assign(MSIX, 0, b ?? -1);
    expect(openFds()).not.toContainEqual(expect.stringMatching(new RegExp(`^${a} `)));
    expect(eventfds.assign(MSIX, 0, null)).toBeNull();
    expect(eventfds.count(MSIX)).toBe(0);
    eventfds.assign(MSIX, 1, c ?? -1);
    eventfds.assign(MSIX, 2, d ?? -1);
    eventfds.assign(INTX, 0, e ?? -1);
    eventfds.release(MSIX);
    expect([eventfds.count(MSIX), eventfds.count(INTX)]).toEqual([0, 1]);
    eventfds.releaseAll();
    eventfds.releaseAll();
    expect(openFds()).toHaveLength(before.length - fds.length);
  });

  it('keep the flags that the client gave them: who reads one that blocks still waits', () => {
    const { theirs, ours } = sent();
    makeBlocking(theirs);
    const eventfds = new IrqEventfds(native);
    eventfds.assign(INTX, 0, ours)?.();
    expect(isBlocking(theirs)).toBe(true);
    expect(native.eventfdRead(theirs)).toBe(1);
    eventfds.releaseAll();
    expect(isBlocking(theirs)).toBe(true);
  });

  it('do not stop the server with a full counter, also when they block: the interrupt is there already', () => {
    const eventfds = new IrqEventfds(native);
    const { theirs, ours } = sent();
    writeSync(theirs, new Uint8Array(new BigUint64Array([FULL]).buffer));
    makeBlocking(theirs);
    const trigger = eventfds.assign(INTX, 0, ours);
    for (let again = 0; again < 3; again += 1) trigger?.();
    const count = new BigUint64Array(1);
    readSync(theirs, count);
    expect(count[0]).toBe(FULL);
    eventfds.releaseAll();
  });

  it('are eventfds and nothing else', () => {
    const { ours } = sent();
    const memory = native.memfd('no-eventfd', 4096, false);
    const file = openSync('/dev/null', 'w');
    expect(() => requireEventfds([])).not.toThrow();
    expect(() => requireEventfds([ours])).not.toThrow();
    for (const fd of [memory, file]) {
      expect(() => requireEventfds([ours, fd])).toThrow(expect.objectContaining({ errno: Errno.EINVAL }));
    }
    native.close(memory);
    native.close(ours);
    closeSync(file);
  });
});
