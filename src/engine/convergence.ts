import type { Copied } from './step.ts';

/** When PRE_COPY has done what it can. */
export interface PreCopyLimits {
  /** Stop once what is left can be moved in this time at the rate measured, in milliseconds. */
  readonly downtimeTargetMs: number;
  /** Stop after so many iterations, however much is left. */
  readonly maxIterations: number;
  /** Stop after so many iterations in a row that left no less than the best one before them. */
  readonly stallIterations: number;
}

/** Defaults: 30 iterations bound a writer that never pauses, and 3 without progress show that it is faster than we. */
export const DEFAULT_PRE_COPY_LIMITS: PreCopyLimits = {
  downtimeTargetMs: 50,
  maxIterations: 30,
  stallIterations: 3,
};

/** So little that another iteration costs more than it saves, in bytes. */
export const SMALL_REMAINDER = 64 * 1024;

/** How much one iteration moves at most when nobody knows how much there is and the source never runs dry, in bytes. */
export const BLIND_ITERATION = 1024 ** 3;

/** An iteration that leaves more than this share of the best one's rest has not got on. */
const PROGRESS = 0.9;

/** One iteration: what was left before it, as far as known, and what was moved. */
export interface Iteration extends Copied {
  /** Bytes left before this iteration; null when nobody knew. */
  readonly before: number | null;
}

/** Why PRE_COPY ended. */
export type Convergence = 'small' | 'stalled' | 'iterations';

/** Whether to go on, and with how much. */
export type PreCopyDecision =
  | { readonly go: 'iterate'; readonly limit: number; readonly before: number | null }
  | { readonly go: 'stop'; readonly because: Convergence };

/**
 * Decides after each iteration. `remaining` is what the source says is left; null when it can't tell: then an
 * iteration that ran dry tells, because what it moved is what had changed during the one before.
 */
export function decidePreCopy(
  history: readonly Iteration[],
  remaining: number | null,
  limits: PreCopyLimits,
): PreCopyDecision {
  const last = history.at(-1);
  const left = remaining ?? restAfter(last);
  if (left !== null && left <= smallEnough(last, limits)) return { go: 'stop', because: 'small' };
  if (history.length >= limits.maxIterations) return { go: 'stop', because: 'iterations' };
  if (left !== null && hasStalled(history, left, limits)) return { go: 'stop', because: 'stalled' };
  return { go: 'iterate', limit: remaining ?? BLIND_ITERATION, before: left };
}

function restAfter(last: Iteration | undefined): number | null {
  return last?.dry ? last.bytes : null;
}

function smallEnough(last: Iteration | undefined, limits: PreCopyLimits): number {
  if (last === undefined) return 0;
  const bytesPerMs = last.ms > 0 ? last.bytes / last.ms : 0;
  return Math.max(SMALL_REMAINDER, bytesPerMs * limits.downtimeTargetMs);
}

/** The last iterations left no less than the best before them. */
function hasStalled(history: readonly Iteration[], left: number, limits: PreCopyLimits): boolean {
  const rests = [...history.slice(1).map((each) => each.before ?? Number.POSITIVE_INFINITY), left];
  if (rests.length <= limits.stallIterations) return false;
  const recent = rests.slice(-limits.stallIterations);
  const best = Math.min(...rests.slice(0, -limits.stallIterations));
  return recent.every((rest) => rest > best * PROGRESS);
}
