import { type Command, Option } from 'commander';
import {
  BEHAVIOURS,
  type Behaviour,
  CLIENT_RULES,
  checkClient,
  parseScript,
  type RuleFacts,
} from '../../check/index.ts';
import { readBounded } from '../options/bounded-input.ts';
import { wholeNumber } from '../options/quantities.ts';
import { ExitCode } from '../outcome/exit-code.ts';
import { ExitRequest } from '../outcome/exit-request.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { print, printError, toJson } from '../output/terminal.ts';
import { addNames, type CheckOptions, selectionOf } from './check-options.ts';
import { show, statusOf } from './check-server-command.ts';
import { interruption } from './interruption.ts';
import { palette } from './palette.ts';

/** The longest script that is read, bytes. */
const LARGEST_SCRIPT = 1024 * 1024;

/** What the command line says besides {@link CheckOptions}. */
export interface AsServerOptions extends CheckOptions {
  readonly asServer?: boolean;
  readonly play?: readonly string[];
  readonly script?: string;
  readonly wait: number;
  readonly limit: number;
}

/** For the end of --help. */
export const AS_SERVER_HELP = `
With --as-server it is the other way round: ferry plays servers to a client, a VMM for instance, one behaviour after the
other: as it should be, slow, refusing, leaving, lying. With --spawn the client is started anew for each of them, with
{socket} where the server listens; without, ferry listens on the socket that is named, and you connect the client each
time.

  ferry check --as-server --spawn './my-vmm --device {socket}'
  ferry check --as-server /tmp/dut.sock --play well-behaved,leaves-at-5
  ferry check --as-server --list                              the rules and the behaviours
  ferry check --as-server --spawn '...' --script busy-then-fine.json
`;

/** The rules that `--list` shows for clients. */
export const clientRules: readonly RuleFacts[] = CLIENT_RULES;

/** Adds the options of `--as-server`. */
export function addAsServerOptions(command: Command): Command {
  return command
    .option('--as-server', 'play a server to a client, and check that')
    .addOption(new Option('--play <behaviours>', 'names, with commas; all by default').argParser(addNames))
    .option('--script <file>', 'a behaviour of your own, in JSON; "-" reads standard input')
    .option('--wait <ms>', 'how long a client may take to connect', wholeNumber(1), 60_000)
    .option('--limit <ms>', 'how long one behaviour is played', wholeNumber(1), 5000);
}

/** `--list`: the behaviours, below the rules. */
export function listBehaviours({ format }: CheckOptions): void {
  if (format === 'json') return print(toJson(BEHAVIOURS.map(({ name, does }) => ({ name, does }))));
  print(palette.strong('behaviours'));
  for (const { name, does } of BEHAVIOURS) print(`  ${name.padEnd(34)} ${does}`);
}

/** `ferry check --as-server`. */
export async function checkAsServer(socket: string | undefined, options: AsServerOptions): Promise<void> {
  const { spawn } = options;
  requireWhere(socket, spawn);
  const behaviours = await behavioursOf(options);
  const stop = interruption();
  const tells = options.format === 'people' || options.output !== undefined;
  const report = await checkClient({
    socketPath: socket ?? null,
    spawn: spawn ?? null,
    behaviours,
    selection: selectionOf(options),
    startMs: options.wait,
    limitMs: options.limit,
    signal: stop,
    ...(tells ? { onPlay: tellPlay } : {}),
  });
  show(report, options);
  if (stop.aborted) printError('ferry: interrupted: some behaviours were not played');
  const status = stop.aborted ? ExitCode.IN_DOUBT : statusOf(report);
  if (status !== ExitCode.OK) throw new ExitRequest(status);
}

function tellPlay({ name, does }: Behaviour, path: string): void {
  print(`${palette.strong(name.padEnd(24))} a server on ${path} that ${does}`);
}

function requireWhere(socket: string | undefined, spawn: string | undefined): void {
  if ((socket === undefined) === (spawn === undefined))
    throw new UsageError('give the socket to listen on, or --spawn with the command that starts the client');
  if (spawn !== undefined && !spawn.includes('{socket}'))
    throw new UsageError("the command of --spawn needs {socket} where the path of the server's socket goes");
}

async function behavioursOf({ play, script }: AsServerOptions): Promise<readonly Behaviour[]> {
  const own = script === undefined ? [] : [parseScript(await readBounded(script, LARGEST_SCRIPT))];
  // A script alone is played alone.
  if (play === undefined) return own.length > 0 ? own : BEHAVIOURS;
  const named = play.map((name) => {
    const found = BEHAVIOURS.find((one) => one.name === name);
    if (found === undefined) throw new UsageError(`no behaviour is called '${name}': see --as-server --list`);
    return found;
  });
  return [...named, ...own];
}
