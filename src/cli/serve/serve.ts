import { closeSync, writeSync } from 'node:fs';
import { Command, Option } from 'commander';
import { CONTROL_SUFFIX, findControlSocket } from '../../client/index.ts';
import { LOG_LEVELS, type LogEntry, type LogLevel } from '../../device/index.ts';
import { offerHandover, type TakenServer, takeOver } from '../../handover/index.ts';
import { type OnReconnect, type RunningServer, serveDedicated, serveDevice } from '../../server/index.ts';
import { formatMs, parseBytes, wholeNumber } from '../options/quantities.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { failureJson, failureOf } from '../outcome/failure.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { print, printable, printError, toJson } from '../output/terminal.ts';
import { type AttendedDevice, attendedDevice } from './attended-device.ts';
import { type AuthorOptions, addAuthorOption } from './author/author-options.ts';
import { DEVICE_NAMES, type DeviceSpec, deviceSpec } from './device-spec.ts';
import { addMigrationOptions, type MigrationInterfaceOptions, v1OptionsOf } from './migration-options.ts';
import { serveInherited } from './serve-inherited.ts';
import { untilAlone } from './until-alone.ts';

interface Options extends MigrationInterfaceOptions {
  readonly socketPath?: string;
  readonly fd?: number;
  /** A path; false for --no-control; true when neither was given. */
  readonly controlPath?: string;
  readonly control: boolean;
  readonly dedicated?: boolean;
  readonly spin?: boolean;
  readonly holdLimit?: number;
  readonly onReconnect?: OnReconnect;
  readonly takeOver?: string;
  readonly pauseLimit?: number;
  readonly readyFd?: number;
  readonly size?: number;
  readonly image?: string;
  readonly ram?: number;
  readonly inputs?: string;
  readonly backend?: string;
  readonly option?: AuthorOptions;
  readonly mapBars?: boolean;
  readonly logLevel?: LogLevel;
  readonly json?: boolean;
}

/** What runs until a signal comes. */
interface Service {
  /** Settles when there is nobody left to serve, here at least. */
  readonly ended: Promise<void>;
  readonly socket: string;
  readonly controlPath: string | null;
  /** The process from which the device was taken over, and for how long nobody served its clients, in milliseconds. */
  readonly predecessor?: number | undefined;
  readonly pauseMs?: number | undefined;
  /** Where the other end of the device is, if the system has chosen that. */
  readonly line?: string | undefined;
  close(): void | Promise<void>;
}

const HELP = `
Devices:
  edu      QEMU's educational device: factorials, interrupts, DMA to a buffer
  memory   a large memory that clients can map, with a checksum engine and a clock
  gpio     the ACCES PCI-IDIO-16 (Linux: gpio-pci-idio-16), 16 outputs and 16 inputs
  serial   a 16550A on PCI (Linux: 8250_pci)
  nvme     an NVMe 1.4 controller with one namespace (Linux: nvme)
  kernel:NAME  a device that a driver of Linux gives by VFIO: kernel:0000:00:05.0, the UUID of a mediated device, its
           file below /dev/vfio (docs/kernel-devices.md)
  PATH     a module in TypeScript or JavaScript whose default export is a class that extends PciDevice

Outputs of gpio are printed when they change, as "out3=1 out4=0"; inputs are set by lines such as "in3=1" on standard
input. The other end of serial is standard input and output (stdio), a new pseudo-terminal whose path is printed (pty),
or whoever connects to a UNIX socket, one at a time (unix:PATH).

The namespace of nvme is memory that migrates with the device (--ram), or a regular file of whole blocks of 512 bytes
(--backend), which both ends of a migration share: it is locked while a guest uses it.

QEMU (10.1 or newer) attaches any of them with
  -object memory-backend-memfd,id=mem,size=1G,share=on -machine q35,memory-backend=mem
  -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"/tmp/a.sock"}}'

It stays in the foreground, prints one line when it listens (on standard error with --backend stdio), and ends with status 0 on SIGTERM or SIGINT.

Examples:
  ferry serve memory --socket-path /tmp/a.sock --size 64M --image disk.img
  ferry serve edu --socket-path /tmp/edu.sock --no-control
  ferry serve edu --socket-path /tmp/old.sock --migration v1 --v1-rule v1-libvfio-user
  ferry serve gpio --socket-path /tmp/gpio.sock --inputs in0=1,in7=1
  ferry serve serial --socket-path /tmp/serial.sock --backend unix:/tmp/line
  ferry serve serial --socket-path /tmp/serial.sock --backend pty
  ferry serve nvme --socket-path /tmp/nvme.sock --ram 256M
  ferry serve nvme --socket-path /tmp/nvme.sock --backend disk.img
  ferry serve kernel:0000:00:05.0 --socket-path /tmp/real.sock
  ferry serve ./my-device.ts --socket-path /tmp/mine.sock --option period=50
  ferry serve ./my-device.js --socket-path /tmp/mine.sock --control-path /run/mine.control
${EXIT_CODES_HELP}`;

/** `ferry serve`. */
export function serveCommand(): Command {
  const command = new Command('serve')
    .description('serve a device over vfio-user')
    .argument(
      '<device>',
      `${DEVICE_NAMES.join(', ')}, kernel:NAME, or the path of a module in TypeScript or JavaScript`,
    )
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
  return addMigrationOptions(command).addHelpText('after', HELP).action(serve);
}

async function serve(device: string, options: Options): Promise<void> {
  const spec = deviceSpec(device, options);
  requireOneSocket(options);
  const signalled = nextSignal();
  const service = await start(spec, options, controlPathOf(options)).catch((error: unknown) => {
    tellStarter(options.readyFd, toJson(failureJson(failureOf(error))));
    throw error;
  });
  const listening = announcement({ device, ...service }, options.json === true);
  tellStarter(options.readyFd, announcement({ device, ...service }, true));
  // With stdio, standard output is the guest's.
  if (spec.kind === 'serial' && spec.end.kind === 'stdio') printError(listening);
  else print(listening);
  await Promise.race([signalled, service.ended]);
  await service.close();
}

/** Whoever started this learns how it went, and may have gone. */
function tellStarter(fd: number | undefined, line: string): void {
  if (fd === undefined) return;
  try {
    writeSync(fd, `${line}\n`);
    closeSync(fd);
  } catch (error) {
    printError(`ferry: nobody reads --ready-fd ${fd}: ${error instanceof Error ? error.message : error}`);
  }
}

/** Options that say what a server that is taken over has said already. */
const SAID_BEFORE = ['socketPath', 'fd', 'controlPath', 'dedicated', 'onReconnect'] as const;

function requireOneSocket(options: Options): void {
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

async function start(spec: DeviceSpec, options: Options, controlPath: string | null): Promise<Service> {
  const { holdLimit, spin, onReconnect } = options;
  const common = {
    controlPath,
    v1: v1OptionsOf(options),
    ...(holdLimit === undefined ? {} : { holdLimitMs: holdLimit }),
    ...(onReconnect === undefined ? {} : { onReconnect }),
    ...(spin === false ? { spinMicroseconds: 0 } : {}),
    log: printEntry,
    logLevel: options.logLevel ?? 'error',
  };
  if (options.dedicated === true) return startDedicated(spec, options, common);
  const attended = await attendedDevice(spec, options.takeOver !== undefined);
  try {
    return serviceOf(await startHere(attended.device, options, common), attended, options);
  } catch (error) {
    await (attended.abandon ?? attended.close)();
    throw error;
  }
}

async function startHere(
  device: AttendedDevice['device'],
  { takeOver: from, socketPath, fd }: Options,
  common: Parameters<typeof serveDevice>[1] & { readonly controlPath: string | null },
): Promise<RunningServer | TakenServer> {
  if (from !== undefined) return takeOver(device, { ...common, controlPath: findControlSocket(from) });
  if (fd !== undefined) return serveInherited(device, { ...common, fd });
  return serveDevice(device, { ...common, ...(socketPath === undefined ? {} : { socketPath }) });
}

/** A device that runs here, until nobody can want it any more or another process has taken it over. */
function serviceOf(
  running: RunningServer | TakenServer,
  attended: AttendedDevice,
  { fd, pauseLimit }: Options,
): Service {
  let elsewhere = false;
  const { handedOver } = offerHandover(running, {
    obstacle: attended.stays ?? null,
    ...(pauseLimit === undefined ? {} : { frozenMs: pauseLimit }),
  });
  const gone = handedOver.then(() => {
    elsewhere = true;
  });
  return {
    ended: Promise.race([gone, untilAlone(running)]),
    socket: running.socketPath ?? (fd === undefined ? 'an inherited socket' : `fd ${fd}`),
    controlPath: running.controlPath,
    line: attended.line,
    ...('predecessor' in running ? { predecessor: running.predecessor, pauseMs: running.pauseMs } : {}),
    close: async () => {
      if (elsewhere) return (attended.abandon ?? attended.close)();
      running.close();
      await attended.close();
    },
  };
}

function printEntry({ level, message }: LogEntry): void {
  printError(printable(level === 'error' ? `ferry: ${message}` : `ferry: ${level}: ${message}`));
}

async function startDedicated(
  spec: DeviceSpec,
  { socketPath, fd }: Options,
  common: Omit<Parameters<typeof serveDedicated>[0], 'factory'>,
): Promise<Service> {
  const running = await serveDedicated({
    ...common,
    ...(socketPath === undefined ? {} : { socketPath }),
    ...(fd === undefined ? {} : { fd }),
    factory: new URL('./device-factory.js', import.meta.url).href,
    factoryOptions: spec,
  });
  const socket = socketPath ?? `fd ${fd}`;
  const { controlPath } = running;
  return { ended: FOREVER, socket, controlPath, close: () => running.close() };
}

const FOREVER = new Promise<void>(() => {});

function controlPathOf({ control, controlPath, socketPath }: Options): string | null {
  if (!control) return null;
  if (controlPath !== undefined) return controlPath;
  return socketPath === undefined ? null : socketPath + CONTROL_SUFFIX;
}

type Listening = { readonly device: string } & Pick<
  Service,
  'socket' | 'controlPath' | 'line' | 'predecessor' | 'pauseMs'
>;

function announcement(listening: Listening, json: boolean): string {
  const { device, socket, controlPath, line, predecessor, pauseMs = 0 } = listening;
  const taken = predecessor === undefined ? {} : { predecessor, pauseMs };
  if (json) return toJson({ listening: { device, socket, controlPath, line, ...taken, pid: process.pid } });
  const control = controlPath === null ? '' : ` (control ${controlPath})`;
  const at = line === undefined ? '' : `, line at ${line}`;
  const before =
    predecessor === undefined ? '' : `, taken over from process ${predecessor} in ${formatMs(pauseMs)}`;
  return `listening on ${socket}${control}${at}${before}`;
}

/** Settles at the first SIGTERM or SIGINT; a second one ends the process as usual. */
function nextSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
}
