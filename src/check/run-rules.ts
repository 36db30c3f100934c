import type { Shown } from './exchange.ts';
import type { Result } from './result.ts';
import { factsOf, type Rule, type RuleFacts } from './rule.ts';
import { BrokenRuleError, type Finding, InconclusiveError, NotApplicableError } from './verdict.ts';

/** What one rule is tried on. */
export interface Trial<W> {
  readonly world: W;
  /** What was sent and received, the end of it. Asked for when the rule is broken. */
  exchange(): readonly Shown[] | Promise<readonly Shown[]>;
  /** What the other end has said on its standard error since the trial began; empty where that can't be seen. */
  log(): string;
  /** Gives everything back. Called once, whatever the outcome. */
  end(result: Pick<Result, 'outcome'>): void | Promise<void>;
}

/** Where rules are tried. */
export interface Stage<W> {
  /** Prepares a trial. Throws a verdict when that can't be: NotApplicableError, InconclusiveError. */
  begin(rule: RuleFacts): Trial<W> | Promise<Trial<W>>;
}

/** What {@link runRules} has to know. */
export interface RunOptions<W> {
  readonly rules: readonly Rule<W>[];
  readonly stage: Stage<W>;
  /**
   * The longest that one rule may take, milliseconds. A safety net: every wait of a rule has a limit of its own, so a
   * rule that is cut off here is inconclusive.
   */
  readonly limitMs: number;
  /** Told of each result at once. */
  readonly onResult?: (result: Result) => void;
  /** Stops before the next rule. */
  readonly signal?: AbortSignal;
}

/** Tries rules one after the other. Never throws for what a rule or the other end does. */
export async function runRules<W>(options: RunOptions<W>): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (const rule of options.rules) {
    if (options.signal?.aborted === true) break;
    const result = await tryRule(rule, options);
    results.push(result);
    options.onResult?.(result);
  }
  return results;
}

async function tryRule<W>(rule: Rule<W>, { stage, limitMs }: RunOptions<W>): Promise<Result> {
  const started = performance.now();
  const done = (verdict: Omit<Result, 'rule' | 'ms'>): Result => ({
    rule: factsOf(rule),
    ...verdict,
    ms: performance.now() - started,
  });
  let trial: Trial<W>;
  try {
    trial = await stage.begin(rule);
  } catch (error) {
    return done(await verdictOf(error, null));
  }
  const result = done(await verdictIn(rule, trial, limitMs));
  try {
    await trial.end(result);
  } catch (error) {
    // What was found stays found; that the stage could not be cleared shows in the next rule.
    if (result.outcome === 'passed') return done(await verdictOf(error, trial));
  }
  return result;
}

async function verdictIn<W>(
  rule: Rule<W>,
  trial: Trial<W>,
  limitMs: number,
): Promise<Omit<Result, 'rule' | 'ms'>> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new InconclusiveError(`it took longer than ${limitMs} ms`)), limitMs);
  });
  try {
    await Promise.race([rule.check(trial.world), limit]);
    return { outcome: 'passed', reason: null, finding: null };
  } catch (error) {
    return await verdictOf(error, trial);
  } finally {
    clearTimeout(timer);
  }
}

/** An error that is no verdict is the suite's own, so nobody else is blamed for it. */
async function verdictOf(error: unknown, trial: Trial<unknown> | null): Promise<Omit<Result, 'rule' | 'ms'>> {
  if (error instanceof BrokenRuleError) {
    return { outcome: 'broken', reason: null, finding: await findingOf(error, trial) };
  }
  const reason = error instanceof Error ? error.message : String(error);
  const outcome = error instanceof NotApplicableError ? 'not applicable' : 'inconclusive';
  const known = error instanceof NotApplicableError || error instanceof InconclusiveError;
  return { outcome, reason: known ? reason : `the suite itself failed: ${reason}`, finding: null };
}

async function findingOf(error: BrokenRuleError, trial: Trial<unknown> | null): Promise<Finding> {
  return {
    what: error.message,
    expected: error.expected,
    exchange: (await trial?.exchange()) ?? [],
    log: trial?.log() ?? '',
  };
}
