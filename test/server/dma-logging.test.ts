import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { AddressSpace } from '../../src/memory/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { DmaLogging } from '../../src/server/dma-logging.ts';

const { EBUSY, EINVAL } = Errno;
const PAGE = 4096n;

function logging() {
  const memory = new AddressSpace(loadNative());
  const dirty = (): boolean => memory.dirtyLog.report(0n, PAGE, PAGE).some((byte) => byte !== 0);
  return { memory, dirty, log: new DmaLogging<object>(memory), vmm: {}, controller: {} };
}

describe('DMA logging', () => {
  it('is off until somebody starts it, and answers the page size chosen', () => {
    const { log, vmm } = logging();
    expect(log.active).toBe(false);
    expect(log.start(512n, [], vmm)).toBe(PAGE);
    expect(log.active).toBe(true);
  });

  it('belongs to who started it: others can neither start nor stop it', () => {
    const { log, vmm, controller, memory, dirty } = logging();
    log.start(PAGE, [], controller);
    memory.dirtyLog.mark(0n, 1);
    expect(() => log.start(PAGE, [], vmm)).toThrow(expect.objectContaining({ errno: EBUSY }));
    expect(() => log.stop(vmm)).toThrow(expect.objectContaining({ errno: EBUSY }));
    expect(dirty()).toBe(true);
  });

  it('is not started twice by its owner, whose log goes on', () => {
    const { log, vmm, memory, dirty } = logging();
    log.start(PAGE, [], vmm);
    memory.dirtyLog.mark(0n, 1);
    expect(() => log.start(PAGE, [], vmm)).toThrow(expect.objectContaining({ errno: EINVAL }));
    expect(dirty()).toBe(true);
  });

  it('does not change hands by a start that is refused', () => {
    const { log, vmm, controller } = logging();
    expect(() => log.start(3n, [], vmm)).toThrow(expect.objectContaining({ errno: EINVAL }));
    expect(log.active).toBe(false);
    expect(log.start(PAGE, [], controller)).toBe(PAGE);
  });

  it('is stopped by its owner, also when it is off', () => {
    const { log, vmm, controller } = logging();
    log.start(PAGE, [], vmm);
    log.stop(vmm);
    expect(log.active).toBe(false);
    log.stop(vmm);
    log.stop(controller);
    expect(log.start(PAGE, [], controller)).toBe(PAGE);
  });

  it('ends with its owner, and not with anybody else', () => {
    const { log, vmm, controller } = logging();
    log.start(PAGE, [], controller);
    log.leave(vmm);
    expect(log.active).toBe(true);
    log.leave(controller);
    expect(log.active).toBe(false);
    expect(log.start(PAGE, [], vmm)).toBe(PAGE);
  });

  it('ends for everybody with a reset, after which anybody may start it', () => {
    const { log, vmm, controller } = logging();
    log.start(PAGE, [], controller);
    log.end();
    expect(log.active).toBe(false);
    log.leave(controller);
    expect(log.start(PAGE, [], vmm)).toBe(PAGE);
  });

  it('knows how long a report is: a bit per page, in whole words', () => {
    const { log } = logging();
    expect([1n, 64n * PAGE, 64n * PAGE + 1n].map((length) => log.reportSize(length, PAGE))).toEqual([
      8, 8, 16,
    ]);
  });
});
