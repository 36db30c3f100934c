import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { Spin } from '../../src/relay/spin.ts';

const NEVER = Number.POSITIVE_INFINITY;

/** Looks that find nothing; how many there were. */
function looker() {
  const looks = {
    count: 0,
    look: (): number => {
      looks.count += 1;
      return -Errno.EAGAIN;
    },
  };
  return looks;
}

/** In how many of so many waits it looked at all. */
function lookedIn(spin: Spin, waits: number): number {
  let times = 0;
  for (let i = 0; i < waits; i += 1) {
    const looks = looker();
    // In no time: it looks once, in vain.
    spin.wait(looks, 0);
    if (looks.count > 0) times += 1;
  }
  return times;
}

describe('a spin', () => {
  it('returns what it finds', () => {
    let left = 3;
    expect(new Spin(1_000_000).wait({ look: () => (left-- > 0 ? -Errno.EAGAIN : 42) }, NEVER)).toBe(42);
  });

  it('ends in time', () => {
    const looks = looker();
    const start = performance.now();
    expect(new Spin(500).wait(looks, NEVER)).toBe(-Errno.EAGAIN);
    expect(performance.now() - start).toBeGreaterThanOrEqual(0.5);
    expect(new Spin(1e9).wait(looks, performance.now() + 1)).toBe(-Errno.EAGAIN);
  });

  it('rests longer and longer while it brings nothing, and not when it does', () => {
    const spin = new Spin(1e6);
    // Four in vain, then rests of 4, 8, 16, 32 with one try after each.
    expect(lookedIn(spin, 4)).toBe(4);
    expect(lookedIn(spin, 5)).toBe(1);
    expect(lookedIn(spin, 9)).toBe(1);
    expect(lookedIn(spin, 17)).toBe(1);
    expect(lookedIn(spin, 32)).toBe(0);
    // One that pays ends the rests.
    let looks = 0;
    expect(spin.wait({ look: () => (looks++ === 0 ? -Errno.EAGAIN : 7) }, NEVER)).toBe(7);
    expect(lookedIn(spin, 4)).toBe(4);
  });

  it('does not happen at all with no time for it', () => {
    expect(lookedIn(new Spin(0), 3)).toBe(0);
  });
});
