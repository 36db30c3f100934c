import type { DriverAction } from '../v1/driver-actions.ts';
import { ruleStateName } from './catalogue.ts';
import type { Judgement, RuleSet, Verdict } from './rule-set.ts';

/** What one rule set says of a change in a comparison. */
export interface Answer {
  /** The id of the rule set. */
  readonly rules: string;
  /** `absent`: it lacks one of the two states. */
  readonly verdict: Verdict | 'absent';
  /** The names of the states after the first. */
  readonly path: readonly string[];
  readonly actions: readonly DriverAction[];
  readonly reason: string | null;
  readonly remarks: readonly string[];
}

/** One change, and what each rule set says of it. */
export interface ComparedChange {
  readonly from: string;
  readonly to: string;
  /** What they differ in: whether it may be, or only what a driver does on the way; null where they agree. */
  readonly differsIn: 'verdict' | 'actions' | null;
  readonly answers: readonly Answer[];
}

/**
 * Every change between states that one of the rule sets has, by name, in the order of the first rule set's states. A
 * change from a state to itself and one from or to ERROR are included.
 */
export function compareRules(rules: readonly RuleSet[]): readonly ComparedChange[] {
  const names = [...new Set(rules.flatMap(validNames))];
  return names.flatMap((from) => names.map((to) => compareChange(rules, from, to)));
}

function compareChange(rules: readonly RuleSet[], from: string, to: string): ComparedChange {
  const answers = rules.map((each) => answerOf(each, from, to));
  const present = answers.filter(({ verdict }) => verdict !== 'absent');
  const verdicts = new Set(present.map(({ verdict }) => verdict));
  const ways = new Set(
    present.filter(({ verdict }) => verdict === 'allowed').map(({ actions }) => actions.join()),
  );
  const differsIn = verdicts.size > 1 ? 'verdict' : ways.size > 1 ? 'actions' : null;
  return { from, to, differsIn, answers };
}

function answerOf(rules: RuleSet, from: string, to: string): Answer {
  const [before, after] = [codeOf(rules, from), codeOf(rules, to)];
  if (before === null || after === null) {
    return { rules: rules.id, verdict: 'absent', path: [], actions: [], reason: null, remarks: [] };
  }
  const judgement: Judgement = rules.judge(before, after);
  return {
    rules: rules.id,
    verdict: judgement.verdict,
    path: judgement.path.map((code) => ruleStateName(rules, code)),
    actions: judgement.steps.flatMap((step) => step.actions),
    reason: judgement.reason,
    remarks: judgement.remarks,
  };
}

function validNames(rules: RuleSet): readonly string[] {
  return rules.states.filter(({ valid }) => valid).map(({ name }) => name);
}

function codeOf(rules: RuleSet, name: string): number | null {
  return rules.states.find((state) => state.valid && state.name === name)?.code ?? null;
}
