import { Command } from 'commander';
import { type Answer, type ComparedChange, compareRules } from '../../states/index.ts';
import { print, toJson } from '../output/terminal.ts';
import { parseFlags, RULES_HELP, requireRuleList } from './states-options.ts';
import { columns } from './states-text.ts';

/** The five tables that were published, or are deployed, under the name of v1. */
const FIVE = 'v1-uapi,v1-2021-09,v1-2021-12,v1-2022-01,v1-libvfio-user';

interface Options {
  readonly rules: string;
  readonly flags?: number;
  readonly all?: boolean;
  readonly json?: boolean;
}

const HELP = `
${RULES_HELP}

Examples:
  ferry states compare
  ferry states compare --rules v2-7,v1-2022-01 --all`;

/** `ferry states compare`. */
export function statesCompareCommand(): Command {
  return new Command('compare')
    .description('show where rules differ')
    .option('--rules <list>', 'which rules, separated by commas, or all', FIVE)
    .option('--flags <flags>', 'migration flags of v2, such as p2p,precopy', parseFlags)
    .option('--all', 'also what they agree on')
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(showComparison);
}

function showComparison(options: Options): void {
  const rules = requireRuleList(options.rules, options.flags);
  const changes = compareRules(rules).filter(({ differsIn }) => options.all === true || differsIn !== null);
  if (options.json === true) print(toJson({ rules: rules.map(({ id }) => id), changes }));
  else
    for (const line of describeComparison(
      rules.map(({ id }) => id),
      changes,
    ))
      print(line);
}

function describeComparison(ids: readonly string[], changes: readonly ComparedChange[]): string[] {
  if (changes.length === 0) return ['They agree on everything.'];
  return [
    ...columns([
      ['', ...ids],
      ...changes.map((change) => [
        titleOf(change),
        ...change.answers.map((answer) => cellOf(change, answer)),
      ]),
    ]),
    '',
    'yes allowed, no refused, ? not listed in a list that is open, - has no such state;',
    '* allowed by several, which do not do the same on the way.',
    ...changes.flatMap(describeRemarks),
  ];
}

function describeRemarks(change: ComparedChange): string[] {
  const told = new Map<string, string[]>();
  for (const { rules, remarks } of change.answers) {
    for (const remark of remarks) told.set(remark, [...(told.get(remark) ?? []), rules]);
  }
  const lines = [...told].map(([remark, ids]) =>
    ids.length === change.answers.length ? `  ${remark}` : `  ${ids.join(', ')}: ${remark}`,
  );
  return lines.length === 0 ? [] : ['', titleOf(change), ...lines];
}

function titleOf({ from, to }: ComparedChange): string {
  return `${from} to ${to}`;
}

function cellOf(change: ComparedChange, { verdict }: Answer): string {
  const words = { allowed: 'yes', refused: 'no', unlisted: '?', absent: '-' } as const;
  return verdict === 'allowed' && change.differsIn === 'actions' ? 'yes*' : words[verdict];
}
