import type { RuleFacts, Severity } from './rule.ts';
import { SEVERITIES } from './rule.ts';
import type { Finding } from './verdict.ts';

/** How the trial of a rule ended. `inconclusive` is trouble of the suite's own, never the other end's fault. */
export const OUTCOMES = ['passed', 'broken', 'not applicable', 'inconclusive'] as const;

/** One of {@link OUTCOMES}. */
export type Outcome = (typeof OUTCOMES)[number];

/** How one rule fared. */
export interface Result {
  readonly rule: RuleFacts;
  readonly outcome: Outcome;
  /** Why it does not apply or can't be decided; null otherwise. */
  readonly reason: string | null;
  /** What is wrong, if it is broken. */
  readonly finding: Finding | null;
  /** How long it took, milliseconds. */
  readonly ms: number;
}

/** How all rules fared. */
export interface Report {
  /** What was checked: `server`, `client`. */
  readonly kind: 'server' | 'client';
  /** Who was checked: a socket, a command line. */
  readonly subject: string;
  /** What is known of it: a line each, such as its PCI identity. */
  readonly about: readonly string[];
  readonly results: readonly Result[];
}

/** How many results there are of each outcome, and how many rules of each severity are broken. */
export interface Summary {
  readonly outcomes: Readonly<Record<Outcome, number>>;
  readonly broken: Readonly<Record<Severity, number>>;
}

/** Counts the results of a report. */
export function summarize({ results }: Pick<Report, 'results'>): Summary {
  const outcomes: Record<Outcome, number> = { passed: 0, broken: 0, 'not applicable': 0, inconclusive: 0 };
  const broken: Record<Severity, number> = { must: 0, should: 0, interoperability: 0, hardening: 0 };
  for (const { outcome, rule } of results) {
    outcomes[outcome] += 1;
    if (outcome === 'broken') broken[rule.severity] += 1;
  }
  return { outcomes, broken };
}

/** The results, worst first: by severity, then in the order in which the rules were tried. */
export function bySeverity(results: readonly Result[]): readonly Result[] {
  const rank = ({ rule }: Result): number => SEVERITIES.indexOf(rule.severity);
  return [...results].sort((a, b) => rank(a) - rank(b));
}
