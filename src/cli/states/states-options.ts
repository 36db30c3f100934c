import { InvalidArgumentError } from 'commander';
import { MigrationFlag, RULE_SETS, type RuleSet, ruleSet } from '../../states/index.ts';
import { UsageError } from '../outcome/usage-error.ts';

const ALL_FLAGS = MigrationFlag.STOP_COPY | MigrationFlag.P2P | MigrationFlag.PRE_COPY;

/** For --help: every rule set, with its name. */
export const RULES_HELP = [
  'Rules:',
  '  v2                 v2 with the flags of --flags (all of them by default)',
  ...RULE_SETS.map(({ id, title }) => `  ${id.padEnd(18)} ${title}`),
].join('\n');

/** Migration flags as people write them: `p2p,precopy` (STOP_COPY is implied), or their number. */
export function parseFlags(text: string): number {
  if (/^\d+$/.test(text) && ruleSet(`v2-${Number(text)}`) !== null) return Number(text);
  let flags: number = MigrationFlag.STOP_COPY;
  for (const word of text.split(',')) {
    const flag = flagOf(word);
    if (flag === null) throw new InvalidArgumentError('Write stop_copy, p2p, pre_copy, or 1, 3, 5, 7.');
    flags |= flag;
  }
  return flags;
}

/** The rule set of a name; `v2` takes the flags. Throws UsageError for an unknown one, or flags where none belong. */
export function requireRules(name: string, flags: number | undefined): RuleSet {
  if (name === 'v2') return requireKnown(`v2-${flags ?? ALL_FLAGS}`);
  if (flags !== undefined) throw new UsageError(`--flags goes with the rules v2, not with ${name}`);
  return requireKnown(name);
}

/** The rule sets of a list such as `v1-uapi,v2`, or `all`; flags go with a `v2` in it. Throws UsageError. */
export function requireRuleList(list: string, flags: number | undefined): readonly RuleSet[] {
  const names = list.split(',').map((name) => name.trim());
  if (flags !== undefined && !names.includes('v2')) {
    throw new UsageError(`--flags goes with the rules v2, which are not in ${list}`);
  }
  if (list === 'all') return RULE_SETS;
  return names.map((name) => requireRules(name, name === 'v2' ? flags : undefined));
}

function requireKnown(name: string): RuleSet {
  const found = ruleSet(name);
  if (found !== null) return found;
  const known = ['v2', ...RULE_SETS.map(({ id }) => id)].join(', ');
  throw new UsageError(`there are no rules '${name}'; there are ${known}`);
}

function flagOf(word: string): number | null {
  const wanted = word.trim().toUpperCase().replaceAll(/[-_]/g, '');
  const found = Object.entries(MigrationFlag).find(([name]) => name.replaceAll('_', '') === wanted);
  return found?.[1] ?? null;
}
