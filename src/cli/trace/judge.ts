import { compareAnswers, type Difference, type Ignored, type ScriptedRequest } from '../../trace/index.ts';
import type { Outcome } from './player.ts';

/** How an answer compares. `unanswered`: none was wanted, or none was recorded. */
export interface Judged {
  readonly verdict: 'equal' | 'different' | 'failed' | 'unanswered';
  readonly differences: readonly Difference[];
  /** Fields that differ and may. */
  readonly ignored: number;
  /** Why there is no answer. */
  readonly failure: string | null;
}

/** Compares an answer with the recorded one. */
export function judge({ reply }: ScriptedRequest, outcome: Outcome | null, ignored: Ignored): Judged {
  const none = { differences: [], ignored: 0, failure: null };
  if (outcome === null) return { ...none, verdict: 'unanswered' };
  if ('failure' in outcome) {
    // Where the recorded server gave no answer either, that is nothing new.
    const verdict = reply === null ? 'unanswered' : 'failed';
    return { ...none, verdict, failure: outcome.failure.message };
  }
  if (reply === null) return { ...none, verdict: 'unanswered' };
  const all = compareAnswers({ bytes: reply.bytes, fds: reply.fds.length }, outcome.answer);
  const differences = all.filter(({ field }) => !ignored(field));
  const verdict = differences.length === 0 ? 'equal' : 'different';
  return { ...none, verdict, differences, ignored: all.length - differences.length };
}
