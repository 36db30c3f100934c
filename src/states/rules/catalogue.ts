import { type SessionKind, stateName } from '../migration-state.ts';
import { v1Bits, v1Name, v1ReservedBits } from '../v1/device-state.ts';
import { V1_RULES } from '../v1/rules.ts';
import type { RuleSet } from './rule-set.ts';
import { V2_RULES } from './v2-rules.ts';

/** Every rule set that is known: v1's in the order in which they appeared, then v2's. */
export const RULE_SETS: readonly RuleSet[] = [...V1_RULES, ...V2_RULES];

const byId = new Map(RULE_SETS.map((rules) => [rules.id, rules]));

/** The rule set of a name such as `v1-uapi`, `v1-libvfio-user` or `v2-7`; null when there is none. */
export function ruleSet(id: string): RuleSet | null {
  return byId.get(id) ?? null;
}

/** The name of a state in a rule set; v1's name with its reserved bits, or `unknown state 9`, for any other number. */
export function ruleStateName(rules: RuleSet, code: number): string {
  const known = rules.states.find((state) => state.code === code);
  if (known !== undefined) return known.name;
  return rules.interface === 'v1' ? v1Name(code) : stateName(code);
}

/** The kind of data session that is open in a state of this name, or null; all rule sets name states alike. */
export function sessionOfName(name: string): SessionKind | null {
  if (name === 'RESUMING') return 'resuming';
  return name === 'STOP_COPY' || name.startsWith('PRE_COPY') ? 'saving' : null;
}

/** The same with the bits of v1, as in `PRE_COPY (011)`: a state of v1 goes by either. */
export function ruleStateText(rules: RuleSet, code: number): string {
  const name = ruleStateName(rules, code);
  const hasBits = rules.interface === 'v1' && v1ReservedBits(code) === 0 && !name.startsWith('invalid');
  return hasBits ? `${name} (${v1Bits(code)})` : name;
}
