import { Command, Option } from 'commander';
import {
  checkSequence,
  type Finding,
  LogLimits,
  type LogSequence,
  parseStateLog,
  RULE_SETS,
  type RuleSet,
  ruleSet,
  type SequenceVerdict,
} from '../../states/index.ts';
import { readBounded } from '../options/bounded-input.ts';
import { counted } from '../options/quantities.ts';
import { ExitCode } from '../outcome/exit-code.ts';
import { ExitRequest } from '../outcome/exit-request.ts';
import { print, printable, toJson } from '../output/terminal.ts';
import { parseFlags, RULES_HELP, requireRuleList } from './states-options.ts';
import { columns } from './states-text.ts';

interface Options {
  readonly rules?: string;
  readonly flags?: number;
  readonly numbers?: 'v1' | 'v2';
  readonly json?: boolean;
}

interface CheckedSequence {
  readonly sequence: LogSequence;
  readonly results: readonly SequenceVerdict[];
}

const HELP = `
LOG is a file, or - for standard input. It is recognised by what is in it:
  words       RUNNING PRE_COPY STOP_COPY STOP, or v1's bits: 001 011 010 000. The first is where the device is, each
              other one is asked for and reached. reset is a reset; STOP! is asked for and fails, STOP!ERROR fails and
              leaves the device in ERROR. Commas, arrows and line ends separate words; # begins a comment. Plain
              numbers such as 3 need --numbers
  JSON        an array of these, or {"states": [...], "device": "...", "flags": 7, "numbers": "v1"}, or several of them
  QEMU trace  lines with vfio_migration_set_state and vfio_migration_set_device_state (QEMU 5.2 to 11.1)
  QMP log     lines with the event VFIO_MIGRATION (QEMU 9.1 or newer, devices with migration-events=on)

Without --rules a log is held against the rules of its interface, for v2 with the device's flags if the log tells them.

${RULES_HELP}

Examples:
  ferry states check migration.trace
  echo 001 011 reset 000 010 | ferry states check - --rules v1-libvfio-user

Exit codes:
  0  every device of the log is accepted: by at least one of the rules, with --rules by all of them
  1  it is not, or the log can't be read
  2  the command line is wrong`;

/** `ferry states check`. */
export function statesCheckCommand(): Command {
  return new Command('check')
    .description('say which rules a log of states obeys, and where each first refuses')
    .argument('<log>', 'a file, or - for standard input')
    .option('--rules <list>', 'which rules, separated by commas, or all')
    .option('--flags <flags>', 'migration flags of the device (v2), such as p2p,precopy', parseFlags)
    .addOption(new Option('--numbers <interface>', 'what plain numbers are').choices(['v1', 'v2']))
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(check);
}

async function check(path: string, options: Options): Promise<void> {
  const { flags } = options;
  const chosen = options.rules === undefined ? null : requireRuleList(options.rules, flags);
  const log = parseStateLog(await readBounded(path, LogLimits.TEXT), options.numbers ?? null);
  const checked = log.sequences.map((sequence): CheckedSequence => {
    const rules = chosen ?? applicable(sequence, flags ?? sequence.flags);
    return { sequence, results: rules.map((each) => checkSequence(each, sequence)) };
  });
  const accepted = checked.every(({ results }) => isAccepted(results, chosen !== null));
  if (options.json === true) print(toJson(checkJson(path, log.format, accepted, checked)));
  else for (const line of describeCheck(path, log.format, checked)) print(printable(line));
  if (!accepted) throw new ExitRequest(ExitCode.FAILED);
}

function applicable(sequence: LogSequence, flags: number | null): readonly RuleSet[] {
  if (sequence.interface === null && flags === null) return RULE_SETS;
  const side = sequence.interface ?? 'v2';
  const exact = side === 'v2' && flags !== null ? ruleSet(`v2-${flags}`) : null;
  return exact === null ? RULE_SETS.filter((rules) => rules.interface === side) : [exact];
}

function isAccepted(results: readonly SequenceVerdict[], byAll: boolean): boolean {
  const passes = (result: SequenceVerdict): boolean => result.verdict !== 'refused';
  return byAll ? results.every(passes) : results.some(passes);
}

function describeCheck(path: string, format: string, checked: readonly CheckedSequence[]): string[] {
  return [
    `${path === '-' ? 'standard input' : path}: ${format}, ${counted(checked.length, 'device')}`,
    ...checked.flatMap(describeSequence),
  ];
}

function describeSequence({ sequence, results }: CheckedSequence): string[] {
  const { device, start, events } = sequence;
  const notes = new Set(results.flatMap((result) => result.notes));
  return [
    '',
    `${device ?? 'the device'}: ${counted(events.length, 'event')} from ${start?.text ?? 'RUNNING'} on`,
    ...columns(results.flatMap(resultRows)),
    ...[...notes].map((note) => `  ${note}`),
  ];
}

function resultRows({ rules, verdict, refusal, unlisted }: SequenceVerdict): string[][] {
  const found = refusal ?? unlisted;
  if (found === null) return [[`  ${rules.id}`, verdict]];
  return [
    [`  ${rules.id}`, verdict, describeFinding(found)],
    ...found.remarks.map((remark) => ['', '', remark]),
  ];
}

function describeFinding({ at, from, to, reason }: Finding): string {
  return at === null ? reason : `${at}: ${from} to ${to}: ${reason}`;
}

function checkJson(
  path: string,
  format: string,
  accepted: boolean,
  checked: readonly CheckedSequence[],
): object {
  return {
    log: path,
    format,
    accepted,
    devices: checked.map(({ sequence, results }) => ({
      device: sequence.device,
      interface: sequence.interface,
      flags: sequence.flags,
      start: sequence.start?.name ?? 'RUNNING',
      events: sequence.events.length,
      results: results.map(({ rules, ...result }) => ({ rules: rules.id, ...result })),
    })),
  };
}
