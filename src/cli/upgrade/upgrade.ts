import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { field, numberOf, textOf } from '../access/server-report.ts';
import { formatMs } from '../options/quantities.ts';
import { EXIT_CODES_HELP, ExitCode } from '../outcome/exit-code.ts';
import { ExitRequest } from '../outcome/exit-request.ts';
import { print, printError, toJson } from '../output/terminal.ts';
import { startSuccessor } from './successor.ts';
import { serverOf, type Target, targetOf } from './target.ts';

interface Options {
  readonly json?: boolean;
}

/** What became of one server. */
interface Outcome {
  readonly control: string;
  readonly result: 'upgraded' | 'rolled back' | 'in doubt';
  /** The process that had the device before. */
  readonly before: number;
  /** The process that has it now; null when nobody can be asked. */
  readonly now: number | null;
  /** How long nobody served its clients, in milliseconds. */
  readonly pauseMs: number | null;
  readonly error: string | null;
}

const HELP = `
For each server that is named, by either of its sockets or by its process, a new process is started with this version of
ferry and the arguments of the running one. It takes the device over with its clients, which stay connected and notice
nothing but a pause, and the old process ends. If anything fails, the old process goes on, and this says so.

One "ferry serve" has one device: name as many as there are. They are upgraded one after the other; when one fails, the
others that were named behind it are left alone.

Examples:
  ferry upgrade /run/vm1/disk.sock /run/vm1/serial.sock
  ferry upgrade 4711 --json
${EXIT_CODES_HELP}`;

const PROGRAM = fileURLToPath(new URL('../main.js', import.meta.url));

/** `ferry upgrade`. */
export function upgradeCommand(): Command {
  return new Command('upgrade')
    .description('replace running servers by this version of ferry, under their clients')
    .argument('<server...>', 'either socket of a server, or the number of its process')
    .option('--json', 'print a JSON object for each')
    .addHelpText('after', HELP)
    .action(upgrade);
}

async function upgrade(names: readonly string[], options: Options): Promise<void> {
  // What can be wrong with any of them is found before the first is touched.
  const targets: Target[] = [];
  for (const name of names) targets.push(await targetOf(name));
  for (const target of targets) {
    const outcome = await upgradeOne(target);
    report(outcome, options.json === true);
    if (outcome.result === 'in doubt') throw new ExitRequest(ExitCode.IN_DOUBT);
    if (outcome.result === 'rolled back') throw new ExitRequest(ExitCode.FAILED);
  }
}

async function upgradeOne(target: Target): Promise<Outcome> {
  const said = await startSuccessor(target, PROGRAM);
  const listening = field(said, 'listening');
  const { pid: before, control } = target;
  if (listening !== undefined) {
    const pauseMs = numberOf(listening, 'pauseMs');
    return { control, result: 'upgraded', before, now: numberOf(listening, 'pid'), pauseMs, error: null };
  }
  const error = textOf(field(said, 'error'), 'message') ?? 'the new process ended without a word';
  const now = await serverOf(control).catch(() => null);
  const result = now === before ? 'rolled back' : 'in doubt';
  return { control, result, before, now, pauseMs: null, error };
}

function report(outcome: Outcome, json: boolean): void {
  if (json) return print(toJson(outcome));
  const { control, result, before, now, pauseMs, error } = outcome;
  if (result === 'upgraded') {
    print(
      `${control}: process ${now} goes on, process ${before} has ended; a pause of ${formatMs(pauseMs ?? 0)}`,
    );
    return;
  }
  printError(`ferry: ${control} is not upgraded: ${error}`);
  if (result === 'rolled back')
    printError(`  nothing has changed: process ${before} goes on with the device`);
  else
    printError(
      `  next: see who serves it: ferry inspect ${control} (it was process ${before}, now ${now ?? 'nobody answers'})`,
    );
}
