import { Command } from 'commander';
import { findState, type Judgement, type RuleSet, ruleStateText } from '../../states/index.ts';
import { counted } from '../options/quantities.ts';
import { ExitCode } from '../outcome/exit-code.ts';
import { ExitRequest } from '../outcome/exit-request.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { print, toJson } from '../output/terminal.ts';
import { parseFlags, RULES_HELP, requireRules } from './states-options.ts';
import { describeStep, judgementJson } from './states-text.ts';

interface Options {
  readonly rules: string;
  readonly flags?: number;
  readonly json?: boolean;
}

const HELP = `
States are named (STOP_COPY, stop-copy), or given by their number or, for v1, their bits (010).

${RULES_HELP}

Examples:
  ferry states path RUNNING STOP_COPY --flags p2p,precopy
  ferry states path 100 011 --rules v1-2021-12

Exit codes:
  0  the change is allowed, or not listed where a list is open
  1  it is refused
  2  the command line is wrong`;

/** `ferry states path`. */
export function statesPathCommand(): Command {
  return new Command('path')
    .description('explain a change of state: its steps, and what the device must do on each')
    .argument('<from>', 'the state before')
    .argument('<to>', 'the state that is asked for')
    .option('--rules <rules>', 'whose rules', 'v2')
    .option('--flags <flags>', 'migration flags of v2, such as p2p,precopy', parseFlags)
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(showPath);
}

function showPath(fromText: string, toText: string, options: Options): void {
  const rules = requireRules(options.rules, options.flags);
  const [from, to] = [requireState(rules, fromText), requireState(rules, toText)];
  const judgement = rules.judge(from, to);
  if (options.json === true) print(toJson({ rules: rules.id, ...judgementJson(rules, from, to, judgement) }));
  else for (const line of describeChange(rules, from, to, judgement)) print(line);
  if (judgement.verdict === 'refused') throw new ExitRequest(ExitCode.FAILED);
}

function describeChange(rules: RuleSet, from: number, to: number, judgement: Judgement): string[] {
  const { verdict, steps, reason, remarks } = judgement;
  const change = `${ruleStateText(rules, from)} to ${ruleStateText(rules, to)}`;
  const way = steps.length === 0 ? 'nothing changes' : counted(steps.length, 'step');
  return [
    rules.title,
    reason === null ? `${change}: ${verdict}, ${way}` : `${change}: ${verdict}: ${reason}`,
    ...steps.flatMap((step, index) => describeStep(rules, step, `  ${index + 1}. `)),
    ...remarks.map((remark) => `  ${remark}`),
  ];
}

function requireState(rules: RuleSet, text: string): number {
  const code = findState(rules, text);
  if (code !== null) return code;
  const known = rules.states.filter(({ valid }) => valid).map(({ code: each }) => ruleStateText(rules, each));
  throw new UsageError(`there is no state '${text}' in ${rules.id}; there are ${known.join(', ')}`);
}
