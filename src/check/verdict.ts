import { Errno, FerryError } from '../errors/index.ts';
import type { Shown } from './exchange.ts';

/** What is wrong with the other end, for people. */
export interface Finding {
  /** What it did, as a sentence. */
  readonly what: string;
  /** What it should have done. */
  readonly expected: string;
  /** What was sent and came back, the end of it; the runner fills it in. */
  readonly exchange: readonly Shown[];
  /** What the other end said on its standard error meanwhile, if that can be seen; the runner fills it in. */
  readonly log: string;
}

/** Thrown by a rule that is broken. */
export class BrokenRuleError extends FerryError {
  readonly expected: string;

  constructor(what: string, expected: string) {
    super('ERR_RULE_BROKEN', what, { errno: Errno.EPROTO, context: { expected } });
    this.expected = expected;
  }
}

/** Thrown by a rule that says nothing about this peer. */
export class NotApplicableError extends FerryError {
  constructor(reason: string) {
    super('ERR_RULE_NOT_APPLICABLE', reason, { errno: Errno.EOPNOTSUPP });
  }
}

/** Thrown by a rule that can't be decided, for a reason that the other end is not to blame for, or not by this rule. */
export class InconclusiveError extends FerryError {
  constructor(reason: string, cause?: unknown) {
    super('ERR_RULE_INCONCLUSIVE', reason, { errno: Errno.EIO, ...(cause === undefined ? {} : { cause }) });
  }
}

/** Ends a rule: it is broken. */
export function broken(what: string, expected: string): never {
  throw new BrokenRuleError(what, expected);
}

/** Ends a rule: it does not apply. */
export function notApplicable(reason: string): never {
  throw new NotApplicableError(reason);
}

/** Ends a rule: it can't be decided. */
export function inconclusive(reason: string, cause?: unknown): never {
  throw new InconclusiveError(reason, cause);
}

/** Ends a rule as broken unless something holds. */
export function demand(holds: boolean, what: string, expected: string): asserts holds {
  if (!holds) broken(what, expected);
}

/**
 * Carries out what a rule only builds on. What goes wrong there is another rule's affair, so that one fault is found
 * by the rules that are about it and by no others.
 */
export async function given<T>(what: string, act: () => T | Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof BrokenRuleError) inconclusive(`${what} did not work: ${error.message}`, error);
    throw error;
  }
}
