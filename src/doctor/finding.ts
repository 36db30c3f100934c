/** How sure a finding is: read off what is there; what experience says; or only a possibility worth a look. */
export const CERTAINTIES = ['certain', 'likely', 'suspected'] as const;

/** One of {@link CERTAINTIES}. */
export type Certainty = (typeof CERTAINTIES)[number];

/**
 * What a finding does to a migration: it `prevents` it, or a migration works but something is lost, slow or wrong
 * (`endangers`).
 */
export type Effect = 'prevents' | 'endangers';

/** Something that was found. */
export interface Finding {
  /** Stable name, such as `socket-missing`. */
  readonly id: string;
  readonly certainty: Certainty;
  readonly effect: Effect;
  /** What is so, in one sentence. */
  readonly finding: string;
  /** Why it matters. */
  readonly why: string;
  /** What to try, one thing each, the most promising first. */
  readonly next: readonly string[];
}

/** A finding before anybody has looked: pure, made of facts of type `F`. */
export interface Rule<F> {
  readonly id: string;
  readonly certainty: Certainty;
  readonly effect: Effect;
  /** The finding's sentence; null when it does not apply. */
  readonly finding: (facts: F) => string | null;
  readonly why: string;
  readonly next: (facts: F) => readonly string[];
}

/** What of `rules` applies to `facts`, from certain to suspected, and among these what prevents a migration first. */
export function judge<F>(rules: readonly Rule<F>[], facts: F): Finding[] {
  const found: Finding[] = [];
  for (const { id, certainty, effect, finding, why, next } of rules) {
    const sentence = finding(facts);
    if (sentence !== null) found.push({ id, certainty, effect, finding: sentence, why, next: next(facts) });
  }
  return found.sort((a, b) => rank(a) - rank(b));
}

/** Whether something was found that keeps the device from being migrated, and that is more than a suspicion. */
export function isPrevented(findings: readonly Finding[]): boolean {
  return findings.some(({ effect, certainty }) => effect === 'prevents' && certainty !== 'suspected');
}

function rank({ certainty, effect }: Finding): number {
  return CERTAINTIES.indexOf(certainty) * 2 + (effect === 'prevents' ? 0 : 1);
}
