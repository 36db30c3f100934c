import { Command, Option } from 'commander';
import { type RuleSet, ruleGraph, toDot, toMermaid } from '../../states/index.ts';
import { print, toJson } from '../output/terminal.ts';
import { statesCheckCommand } from './states-check.ts';
import { statesCompareCommand } from './states-compare.ts';
import { parseFlags, RULES_HELP, requireRules } from './states-options.ts';
import { statesPathCommand } from './states-path.ts';
import { describeRules, rulesJson } from './states-text.ts';

const FORMATS = ['table', 'svg', 'dot', 'mermaid'] as const;

interface Options {
  readonly flags?: number;
  readonly format: (typeof FORMATS)[number];
  readonly json?: boolean;
}

const HELP = `
${RULES_HELP}

Nothing is connected to: this is what was published about the migration states, v1 and v2.

Examples:
  ferry states                                              the v2 machine as a table
  ferry states v2 --flags p2p --format svg > v2.svg         as a diagram
  ferry states v1-uapi --format mermaid
  ferry states path RUNNING STOP_COPY --flags p2p,precopy   what happens on the way
  ferry states compare                                      where the rules of v1 differ
  ferry states check migration.trace                        which rules a log obeys

Exit codes:
  0  done; path: it is not refused; check: the log is accepted
  1  path: it is refused; check: the log is not accepted; or it failed
  2  the command line is wrong`;

/** `ferry states` and what belongs to it. */
export function statesCommand(): Command {
  return new Command('states')
    .description('show the rules of the migration states, and check logs against them')
    .enablePositionalOptions()
    .argument('[rules]', 'whose rules, see below', 'v2')
    .option('--flags <flags>', 'migration flags of v2, such as p2p,precopy', parseFlags)
    .addOption(new Option('--format <format>', 'how it is shown').choices(FORMATS).default('table'))
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .addCommand(statesPathCommand())
    .addCommand(statesCompareCommand())
    .addCommand(statesCheckCommand())
    .action(showRules);
}

async function showRules(name: string, options: Options): Promise<void> {
  const rules = requireRules(name, options.flags);
  if (options.json === true) print(toJson(rulesJson(rules)));
  else print((await rendered(rules, options.format)).trimEnd());
}

async function rendered(rules: RuleSet, format: Options['format']): Promise<string> {
  switch (format) {
    case 'table':
      return describeRules(rules).join('\n');
    case 'dot':
      return toDot(ruleGraph(rules));
    case 'mermaid':
      return toMermaid(ruleGraph(rules));
    case 'svg': {
      // Graphviz is a megabyte of WebAssembly: only who wants a picture waits for it.
      const { instance } = await import('@viz-js/viz');
      return (await instance()).renderString(toDot(ruleGraph(rules)), { format: 'svg' });
    }
  }
}
