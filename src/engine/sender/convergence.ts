import type { MigrationLimits } from '../limits.ts';
import type { Copied } from '../step.ts';

/** So little that another round costs more than it saves, in bytes. */
export const SMALL_REMAINDER = 64 * 1024;

/** How much one round moves at most when nobody knows how much there is and the source never runs dry, in bytes. */
export const BLIND_ITERATION = 1024 ** 3;

/** A round that leaves more than this share of the best one's rest has not got on. */
const PROGRESS = 0.9;

/** What is wanted and measured at a moment. */
export interface Survey {
  readonly limits: MigrationLimits;
  /** What data moves at, loading included, in bytes per millisecond; null before anything was moved. */
  readonly bytesPerMs: number | null;
  /** What the blackout takes besides data: arcs, round trips, records made durable; in milliseconds. */
  readonly overheadMs: number;
}

/** One round: what was left before it, as far as known, and what was moved. */
export interface Iteration extends Copied {
  /** Bytes left before this round; null when nobody knew. */
  readonly before: number | null;
}

/** Why PRE_COPY ended. */
export type Convergence = 'small' | 'stalled' | 'iterations';

/** Whether to go on. */
export type PreCopyDecision =
  | { readonly go: 'iterate' }
  | { readonly go: 'switch'; readonly because: Convergence }
  | { readonly go: 'fail'; readonly because: Convergence; readonly why: string };

/** How long the blackout would take now, in milliseconds; null when that can't be told. */
export function estimateDowntime(left: number | null, survey: Survey): number | null {
  const { bytesPerMs, overheadMs } = survey;
  if (left === null) return null;
  if (left === 0) return overheadMs;
  return bytesPerMs === null ? null : left / bytesPerMs + overheadMs;
}

/** How much could be left for the blackout to be as long as allowed, in bytes; null when that can't be told. */
export function fittingBytes({ limits, bytesPerMs, overheadMs }: Survey): number | null {
  if (bytesPerMs === null || !Number.isFinite(bytesPerMs)) return null;
  const ms = limits.downtimeMs - overheadMs;
  return ms < 0 ? 0 : Math.max(SMALL_REMAINDER, Math.floor(ms * bytesPerMs));
}

/**
 * Decides before each round. `total` is everything that is left, what comes only after the stop included; null when
 * somebody can't tell: then a round that ran dry tells, because what it moved is what had changed during the one before.
 */
export function decidePreCopy(
  history: readonly Iteration[],
  total: number | null,
  survey: Survey,
): PreCopyDecision {
  const { limits } = survey;
  const left = total ?? restAfter(history.at(-1));
  if (fits(history, left, survey)) return { go: 'switch', because: 'small' };
  if (history.length >= limits.maxIterations) return atTheEnd('iterations', left, survey);
  if (left !== null && hasStalled(history, left, limits)) return atTheEnd('stalled', left, survey);
  return { go: 'iterate' };
}

/** What is left after a round, when nobody says so. */
export function restAfter(last: Iteration | undefined): number | null {
  return last?.dry ? last.bytes : null;
}

function fits(history: readonly Iteration[], left: number | null, survey: Survey): boolean {
  if (left === null) return false;
  if (left === 0 && history.length === 0) return true;
  const blackout = estimateDowntime(left, survey);
  if (blackout === null) return false;
  if (blackout <= survey.limits.downtimeMs) return true;
  return left <= SMALL_REMAINDER && survey.overheadMs <= survey.limits.downtimeMs;
}

/** What is left would not take too long if a blackout took nothing else. */
function dataFits(left: number | null, survey: Survey): boolean {
  const blackout = estimateDowntime(left, { ...survey, overheadMs: 0 });
  return blackout !== null && blackout <= survey.limits.downtimeMs;
}

function atTheEnd(because: Convergence, left: number | null, survey: Survey): PreCopyDecision {
  if (survey.limits.whenNotConverging === 'switch') return { go: 'switch', because };
  if (!survey.limits.strict && dataFits(left, survey)) return { go: 'switch', because: 'small' };
  return {
    go: 'fail',
    because,
    why: `${REASONS[because](survey)}; ${situation(left, survey)}. ${adviceFor(survey)}`,
  };
}

const REASONS = {
  small: () => 'little is left',
  iterations: ({ limits }: Survey) => `${limits.maxIterations} rounds of pre-copy have not been enough`,
  stalled: ({ limits }: Survey) =>
    `${limits.stallIterations} rounds of pre-copy have left no less than before`,
} as const satisfies Record<Convergence, (survey: Survey) => string>;

const ADVICE = 'Allow a longer downtime, more bandwidth or more rounds, or make the guest write less';
const ADVICE_ON_OVERHEAD =
  'Allow a longer downtime: neither bandwidth nor a guest that writes less would be enough';

function adviceFor({ overheadMs, limits }: Survey): string {
  return overheadMs > limits.downtimeMs ? ADVICE_ON_OVERHEAD : ADVICE;
}

function situation(left: number | null, survey: Survey): string {
  const blackout = estimateDowntime(left, survey);
  const { downtimeMs } = survey.limits;
  if (left === null || blackout === null) return 'how much is left is not known';
  const rest = `${left} bytes are left, for which the guest would stand still for about ${Math.ceil(blackout)} ms`;
  const alone =
    survey.overheadMs > downtimeMs ? ` (${Math.ceil(survey.overheadMs)} ms without any data)` : '';
  return `${rest}${alone}, and ${downtimeMs} ms are allowed`;
}

/** The last rounds left no less than the best before them. */
function hasStalled(history: readonly Iteration[], left: number, limits: MigrationLimits): boolean {
  const rests = [...history.slice(1).map((each) => each.before ?? Number.POSITIVE_INFINITY), left];
  if (rests.length <= limits.stallIterations) return false;
  const recent = rests.slice(-limits.stallIterations);
  const best = Math.min(...rests.slice(0, -limits.stallIterations));
  return recent.every((rest) => rest > best * PROGRESS);
}
