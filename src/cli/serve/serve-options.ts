import { type Command, Option } from 'commander';
import { CONTROL_SUFFIX } from '../../client/index.ts';
import { LOG_LEVELS, type LogLevel } from '../../device/index.ts';
import type { OnReconnect } from '../../server/index.ts';
import { parseBytes, wholeNumber } from '../options/quantities.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { addAuthorOption } from './author/author-options.ts';
import type { DeviceOptions } from './device-spec.ts';
import { addMigrationOptions, type MigrationInterfaceOptions } from './migration-options.ts';

/** What the command line of `ferry serve` says. */
export interface ServeCommandOptions extends MigrationInterfaceOptions, DeviceOptions {
  readonly socketPath?: string;
  readonly fd?: number;
  /** A path; false for --no-control; true when neither was given. */
  readonly controlPath?: string;
  readonly control: boolean;
  readonly spin?: boolean;
  readonly holdLimit?: number;
  readonly onReconnect?: OnReconnect;
  readonly takeOver?: string;
  readonly pauseLimit?: number;
  readonly readyFd?: number;
  readonly fdStore?: boolean;
  readonly untilStdinEnds?: boolean;
  readonly logLevel?: LogLevel;
}

/** Adds the options to `ferry serve`. */
export function addServeOptions(command: Command): Command {
  command
    .addOption(new Option('--socket-path <path>', 'main socket: a VMM connects here').conflicts('fd'))
    .option('--fd <number>', 'main socket that was inherited, listening or connected', wholeNumber(0))
    .option(
      '--control-path <path>',
      `control socket, mode 0600 (default: the socket path with ${CONTROL_SUFFIX})`,
    )
    .option('--no-control', 'no control socket')
    .option('--dedicated', 'a thread of its own that blocks for the socket: lowest latency')
    .option('--spin', 'look for the next message a little before sleeping (default)')
    .option('--no-spin', 'sleep at once: less CPU time, more latency')
    .option(
      '--hold-limit <ms>',
      'how long a VMM may be kept waiting by a migration (default: 4000)',
      wholeNumber(1),
    )
    .option('--take-over <socket>', 'go on with the device of a running server, under its clients')
    .option(
      '--pause-limit <ms>',
      'how long a process that takes over may keep the VMM waiting (default: 1000)',
      wholeNumber(1),
    )
    .option(
      '--ready-fd <number>',
      'where to write one JSON line when it listens, or why it does not',
      wholeNumber(3),
    )
    .option(
      '--fd-store',
      'as a service of systemd: leave the device with its clients to the next process when told to end',
    )
    .option('--until-stdin-ends', 'end when standard input does, as when whoever has started this has gone')
    .addOption(
      new Option(
        '--on-reconnect <what>',
        'what becomes of the state when the VMM comes back (default: reset)',
      ).choices(['keep', 'reset']),
    )
    .option('--size <bytes>', 'memory: its size, a power of two, such as 64M', parseBytes)
    .option('--image <file>', 'memory: a file whose content is loaded')
    .option('--ram <bytes>', 'nvme: size of a namespace in memory, which migrates', parseBytes)
    .option('--map-bars', 'kernel: the VMM may map its BARs, and has all of the device then')
    .option('--inputs <levels>', 'gpio: inputs from the start, such as in0=1,in7=1')
    .option('--backend <where>', 'serial: its other end, stdio, pty or unix:PATH; nvme: a file')
    .option('--option <name=value>', 'module: given to its constructor; may be repeated', addAuthorOption)
    .addOption(
      new Option('--log-level <level>', 'how much is told on standard error (default: error)').choices(
        LOG_LEVELS,
      ),
    )
    .option('--json', 'print lines as JSON');
  return addMigrationOptions(command);
}

/** ServeCommandOptions that say what a server that is taken over has said already. */
const SAID_BEFORE = ['socketPath', 'fd', 'controlPath', 'dedicated', 'onReconnect'] as const;

/** Makes sure that it is clear where to listen. @throws UsageError */
export function requireOneSocket(options: ServeCommandOptions): void {
  const { takeOver: from, socketPath, fd } = options;
  if (from === undefined) {
    if ((socketPath === undefined) !== (fd === undefined)) return;
    throw new UsageError('give the main socket as --socket-path PATH or as --fd NUMBER');
  }
  const said = SAID_BEFORE.find((name) => options[name] !== undefined);
  if (said === undefined && options.control && options.migration !== 'v1') return;
  const option = (said ?? (options.control ? 'migration' : 'noControl')).replace(
    /[A-Z]/g,
    (letter) => `-${letter.toLowerCase()}`,
  );
  throw new UsageError(
    `--take-over and --${option} contradict each other: what the running server has is kept`,
  );
}

/** Where the control socket is; null for none. */
export function controlPathOf({ control, controlPath, socketPath }: ServeCommandOptions): string | null {
  if (!control) return null;
  if (controlPath !== undefined) return controlPath;
  return socketPath === undefined ? null : socketPath + CONTROL_SUFFIX;
}
