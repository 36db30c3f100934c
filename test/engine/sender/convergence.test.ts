import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS, type MigrationLimits } from '../../../src/engine/index.ts';
import { limitsFrom } from '../../../src/engine/limits.ts';
import {
  decidePreCopy,
  estimateDowntime,
  type Iteration,
  SMALL_REMAINDER,
  type Survey,
} from '../../../src/engine/sender/convergence.ts';
import { restOf, sumOf } from '../../../src/engine/sender/rest.ts';

const MIB = 1024 * 1024;

function survey(bytesPerMs: number | null, limits: Partial<MigrationLimits> = {}, overheadMs = 0): Survey {
  return { bytesPerMs, overheadMs, limits: { ...DEFAULT_LIMITS, ...limits } };
}

function iteration(before: number | null, bytes: number, ms = 1000, dry = false): Iteration {
  return { before, bytes, ms, dry };
}

describe('what is left', () => {
  it('counts what two answers tell twice only once', () => {
    const estimate = { initialBytes: 24n, dirtyBytes: 8n };
    expect(restOf(estimate, 96n)).toEqual({ initial: 24, movable: 32, total: 96 });
    expect(restOf(estimate, 10n)).toEqual({ initial: 24, movable: 32, total: 32 });
  });

  it('is not known in all when the size is not', () => {
    expect(restOf({ initialBytes: 0n, dirtyBytes: 8n }, null)).toEqual({
      initial: 0,
      movable: 8,
      total: null,
    });
    expect(restOf(null, 5n)).toEqual({ initial: null, movable: null, total: 5 });
    expect([sumOf([1, 2]), sumOf([1, null])]).toEqual([3, null]);
  });
});

describe('the blackout', () => {
  it('is the time for what is left, and what it takes without any data', () => {
    expect(estimateDowntime(1000, survey(10, {}, 7))).toBe(107);
    expect(estimateDowntime(0, survey(null, {}, 7))).toBe(7);
  });

  it('can not be told before anything was measured, or when nobody knows what is left', () => {
    expect(estimateDowntime(1000, survey(null))).toBeNull();
    expect(estimateDowntime(null, survey(10))).toBeNull();
  });
});

describe('deciding about PRE_COPY with estimates', () => {
  const rate = survey(100 * 1024);
  const fits = 100 * 1024 * DEFAULT_LIMITS.downtimeMs;

  it('begins with a round however little there is, since nothing has been measured', () => {
    expect(decidePreCopy([], 100, survey(null))).toEqual({ go: 'iterate' });
  });

  it('switches at once when there is nothing', () => {
    expect(decidePreCopy([], 0, survey(null))).toEqual({ go: 'switch', because: 'small' });
  });

  it('switches when the rest fits into the downtime at the rate measured', () => {
    const history = [iteration(64 * MIB, 100 * MIB)];
    expect(decidePreCopy(history, fits, rate)).toEqual({ go: 'switch', because: 'small' });
    expect(decidePreCopy(history, fits + 1024, rate)).toEqual({ go: 'iterate' });
  });

  it('takes off what a blackout takes without any data', () => {
    const slow = survey(100 * 1024, {}, 100);
    const history = [iteration(64 * MIB, 100 * MIB)];
    expect(decidePreCopy(history, fits, slow)).toEqual({ go: 'iterate' });
    expect(decidePreCopy(history, (fits * 2) / 3, slow)).toEqual({ go: 'switch', because: 'small' });
  });

  it('follows the limits that hold now', () => {
    const history = [iteration(64 * MIB, 100 * MIB)];
    expect(decidePreCopy(history, fits + 1024, survey(100 * 1024, { downtimeMs: 400 }))).toMatchObject({
      go: 'switch',
    });
  });

  it('switches at a small rest however slow the way is', () => {
    expect(decidePreCopy([iteration(64 * MIB, 1000)], SMALL_REMAINDER, survey(1))).toMatchObject({
      go: 'switch',
    });
  });

  it('never switches when a blackout without any data is longer than a limit that was said', () => {
    const strict = survey(1, { maxIterations: 1, strict: true }, 301);
    const decision = decidePreCopy([iteration(64 * MIB, 1000)], 0, strict);
    expect(decision).toMatchObject({ go: 'fail', because: 'iterations' });
    expect(decision.go === 'fail' ? decision.why : '').toContain(
      '(301 ms without any data), and 300 ms are allowed',
    );
  });

  it('switches in the end when only that speaks against it, unless the limit was said by the caller', () => {
    const slow = survey(100 * 1024, { maxIterations: 1 }, 301);
    const history = [iteration(64 * MIB, 1000)];
    expect(decidePreCopy(history, fits, slow)).toEqual({ go: 'switch', because: 'small' });
    expect(decidePreCopy(history, fits + 1024, slow)).toMatchObject({ go: 'fail' });
    expect([limitsFrom({}).strict, limitsFrom({ downtimeMs: 300 }).strict]).toEqual([false, true]);
  });

  it('takes no notice of how the first round compares: it moves everything', () => {
    const history = [iteration(MIB, MIB), iteration(MIB, MIB), iteration(MIB, MIB)];
    expect(decidePreCopy(history, MIB, survey(1))).toMatchObject({ go: 'iterate' });
  });

  it('goes on while each round leaves clearly less', () => {
    const history = [64, 32, 16, 8, 4].map((mib) => iteration(mib * MIB, MIB));
    expect(decidePreCopy(history, 2 * MIB, survey(1))).toMatchObject({ go: 'iterate' });
  });
});

describe('rounds that do not end well', () => {
  const many = Array.from({ length: 30 }, (_, i) => iteration(1000 * MIB - i * 300 * MIB, MIB));
  const stalled = [
    iteration(64 * MIB, MIB),
    iteration(20 * MIB, MIB),
    iteration(20 * MIB, MIB),
    iteration(19 * MIB, MIB),
  ];
  const cases = [
    {
      because: 'iterations',
      history: many,
      left: 10 * MIB,
      message: '30 rounds of pre-copy have not been enough',
    },
    {
      because: 'stalled',
      history: stalled,
      left: 21 * MIB,
      message: '3 rounds of pre-copy have left no less',
    },
  ];

  it.each(cases)(
    '$because: fail with a message that says what to change',
    ({ because, history, left, message }) => {
      const decision = decidePreCopy(history, left, survey(1));
      expect(decision).toMatchObject({ go: 'fail', because });
      expect(decision.go === 'fail' ? decision.why : '').toContain(message);
      expect(decision.go === 'fail' ? decision.why : '').toContain('Allow a longer downtime');
    },
  );

  it.each(cases)('$because: switch all the same when told to', ({ because, history, left }) => {
    const decision = decidePreCopy(history, left, survey(1, { whenNotConverging: 'switch' }));
    expect(decision).toEqual({ go: 'switch', because });
  });
});

describe('deciding about PRE_COPY without sizes', () => {
  it('goes on until the source has run dry after little: that much had changed', () => {
    expect(decidePreCopy([], null, survey(null))).toEqual({ go: 'iterate' });
    expect(decidePreCopy([iteration(null, 64 * MIB)], null, survey(1))).toEqual({ go: 'iterate' });
    const history = [iteration(null, 64 * MIB, 1000, true), iteration(64 * MIB, 1000, 1, true)];
    expect(decidePreCopy(history, null, survey(1000))).toEqual({ go: 'switch', because: 'small' });
  });

  it('goes on when a round ran dry after much', () => {
    const history = [iteration(null, 64 * MIB, 1000, true)];
    expect(decidePreCopy(history, null, survey(1))).toEqual({ go: 'iterate' });
  });

  it('ends when what changes no longer gets less', () => {
    const history = [null, 64, 20, 21, 20].map((mib) =>
      iteration(mib === null ? null : mib * MIB, 20 * MIB, 100_000, true),
    );
    expect(decidePreCopy(history, null, survey(1))).toMatchObject({ go: 'fail', because: 'stalled' });
  });
});
