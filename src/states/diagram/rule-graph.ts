import type { SessionKind } from '../migration-state.ts';
import { ruleStateName, sessionOfName } from '../rules/catalogue.ts';
import type { RuleSet } from '../rules/rule-set.ts';
import { v1Bits } from '../v1/device-state.ts';

/** A state in a diagram. */
export interface RuleNode {
  /** The state's name, which is also good as an identifier. */
  readonly name: string;
  /** What is shown: the name, with v1's bits or v2's number below it. */
  readonly label: string;
  /** Which data session is open there, or `error` for the state of a failure. */
  readonly group: SessionKind | 'error' | null;
}

/** A change that is one step. */
export interface RuleEdge {
  readonly from: string;
  readonly to: string;
  /** What happens to the data session, or nothing. */
  readonly label: string;
}

/** A rule set as a directed graph: its states, and the changes that it allows and that are one step. */
export interface RuleGraph {
  readonly title: string;
  /** The name of the state in which a device starts. */
  readonly initial: string;
  readonly nodes: readonly RuleNode[];
  readonly edges: readonly RuleEdge[];
}

/** The graph of a rule set. What takes several steps follows from it; what is unlisted is not in it. */
export function ruleGraph(rules: RuleSet): RuleGraph {
  const states = rules.states.filter(({ valid }) => valid);
  const edges: RuleEdge[] = [];
  for (const { code: from } of states) {
    for (const { code: to } of states) {
      const { verdict, steps } = rules.judge(from, to);
      const [step] = steps;
      if (verdict !== 'allowed' || steps.length !== 1 || step === undefined) continue;
      const label = [step.endsSession ? 'ends session' : '', step.opensSession ? 'opens session' : ''];
      edges.push({
        from: ruleStateName(rules, from),
        to: ruleStateName(rules, to),
        label: label.filter((part) => part !== '').join(', '),
      });
    }
  }
  const nodes = states.map(
    ({ code, name }): RuleNode => ({
      name,
      label: `${name}\n${rules.interface === 'v1' ? v1Bits(code) : code}`,
      group: name === 'ERROR' ? 'error' : sessionOfName(name),
    }),
  );
  return { title: rules.title, initial: ruleStateName(rules, rules.resetState), nodes, edges };
}
