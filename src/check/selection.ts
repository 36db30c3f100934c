import { Errno, FerryError } from '../errors/index.ts';
import type { RuleFacts, Severity } from './rule.ts';

/** Which rules are wanted. Patterns are ids, areas, or ids with `*` in place of any characters. */
export interface Selection {
  /** Only those that one of these names; everything when there is none. */
  readonly only?: readonly string[];
  /** None that one of these names. */
  readonly skip?: readonly string[];
  /** Only these severities; all when it is left out. */
  readonly severities?: readonly Severity[];
}

/** A pattern that names no rule, which is a mistake: it would hide that nothing is checked. */
export class UnknownRuleError extends FerryError {
  constructor(pattern: string, areas: readonly string[]) {
    super('ERR_RULE_UNKNOWN', `no rule is called '${pattern}'; the areas are ${areas.join(', ')}`, {
      errno: Errno.EINVAL,
      context: { pattern },
    });
  }
}

/**
 * The rules that are wanted, in their order.
 * @throws UnknownRuleError for a pattern that names none
 */
export function select<R extends RuleFacts>(rules: readonly R[], selection: Selection): readonly R[] {
  const { only = [], skip = [], severities } = selection;
  for (const pattern of [...only, ...skip]) {
    if (!rules.some((one) => names(pattern, one))) throw new UnknownRuleError(pattern, areasOf(rules));
  }
  return rules.filter(
    (one) =>
      (only.length === 0 || only.some((pattern) => names(pattern, one))) &&
      !skip.some((pattern) => names(pattern, one)) &&
      (severities === undefined || severities.includes(one.severity)),
  );
}

/** The areas of rules, each once, in their order. */
export function areasOf(rules: readonly RuleFacts[]): readonly string[] {
  return [...new Set(rules.map(({ area }) => area))];
}

function names(pattern: string, { id, area }: RuleFacts): boolean {
  if (pattern === id || pattern === area) return true;
  const parts = pattern.split('*').map((part) => part.replace(/[.\\+?^${}()|[\]]/g, '\\$&'));
  return parts.length > 1 && new RegExp(`^${parts.join('.*')}$`).test(id);
}
