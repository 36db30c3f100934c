import { describe, expect, it } from 'vitest';
import {
  BLIND_ITERATION,
  DEFAULT_PRE_COPY_LIMITS,
  decidePreCopy,
  type Iteration,
  SMALL_REMAINDER,
} from '../../src/engine/convergence.ts';

const MIB = 1024 * 1024;
const limits = DEFAULT_PRE_COPY_LIMITS;

function iteration(before: number | null, bytes: number, ms = 1000, dry = false): Iteration {
  return { before, bytes, ms, dry };
}

describe('deciding about PRE_COPY with estimates', () => {
  it('begins with everything that is there', () => {
    expect(decidePreCopy([], 64 * MIB, limits)).toEqual({ go: 'iterate', limit: 64 * MIB, before: 64 * MIB });
  });

  it('stops at once when there is nothing', () => {
    expect(decidePreCopy([], 0, limits)).toEqual({ go: 'stop', because: 'small' });
  });

  it('moves even little before the stop when nothing has been measured', () => {
    expect(decidePreCopy([], 100, limits)).toMatchObject({ go: 'iterate' });
  });

  it('stops when the rest fits into the downtime at the rate measured', () => {
    const history = [iteration(64 * MIB, 100 * MIB)];
    const fits = (100 * MIB * limits.downtimeTargetMs) / 1000;
    expect(decidePreCopy(history, fits, limits)).toEqual({ go: 'stop', because: 'small' });
    expect(decidePreCopy(history, fits + 1, limits)).toMatchObject({ go: 'iterate' });
  });

  it('stops at a small rest however slow the way is', () => {
    const history = [iteration(64 * MIB, 1000)];
    expect(decidePreCopy(history, SMALL_REMAINDER, limits)).toEqual({ go: 'stop', because: 'small' });
  });

  it('stops after the iterations that are allowed', () => {
    const history = Array.from({ length: limits.maxIterations }, (_, i) =>
      iteration(1000 * MIB - i * 300 * MIB, MIB),
    );
    expect(decidePreCopy(history, 10 * MIB, limits)).toEqual({ go: 'stop', because: 'iterations' });
  });

  it('stops when iterations no longer make the rest smaller', () => {
    const history = [
      iteration(64 * MIB, MIB),
      iteration(20 * MIB, MIB),
      iteration(20 * MIB, MIB),
      iteration(19 * MIB, MIB),
    ];
    expect(decidePreCopy(history, 21 * MIB, limits)).toEqual({ go: 'stop', because: 'stalled' });
  });

  it('goes on while each iteration leaves clearly less', () => {
    const history = [64, 32, 16, 8, 4].map((mib) => iteration(mib * MIB, MIB));
    expect(decidePreCopy(history, 2 * MIB, limits)).toMatchObject({ go: 'iterate', limit: 2 * MIB });
  });

  it('takes no notice of how the first one compares: it moves everything', () => {
    const history = [iteration(MIB, MIB), iteration(MIB, MIB), iteration(MIB, MIB)];
    expect(decidePreCopy(history, MIB, limits)).toMatchObject({ go: 'iterate' });
  });
});

describe('deciding about PRE_COPY without estimates', () => {
  it('reads until the source runs dry, within a bound', () => {
    expect(decidePreCopy([], null, limits)).toEqual({ go: 'iterate', limit: BLIND_ITERATION, before: null });
  });

  it('stops when an iteration ran dry after little: that much had changed', () => {
    const history = [iteration(null, 64 * MIB, 1000, true), iteration(64 * MIB, 1000, 1, true)];
    expect(decidePreCopy(history, null, limits)).toEqual({ go: 'stop', because: 'small' });
  });

  it('goes on when an iteration ran dry after much', () => {
    const history = [iteration(null, 64 * MIB, 1000, true)];
    expect(decidePreCopy(history, null, limits)).toEqual({
      go: 'iterate',
      limit: BLIND_ITERATION,
      before: 64 * MIB,
    });
  });

  it('goes on when the source never ran dry, up to the iterations that are allowed', () => {
    const one = iteration(null, BLIND_ITERATION);
    expect(decidePreCopy([one], null, limits)).toMatchObject({ go: 'iterate' });
    const all = Array.from({ length: limits.maxIterations }, () => one);
    expect(decidePreCopy(all, null, limits)).toEqual({ go: 'stop', because: 'iterations' });
  });

  it('stops when what changes no longer gets less', () => {
    const history = [null, 64, 20, 21, 20].map((mib) =>
      iteration(mib === null ? null : mib * MIB, 20 * MIB, 100_000, true),
    );
    expect(decidePreCopy(history, null, limits)).toEqual({ go: 'stop', because: 'stalled' });
  });
});
