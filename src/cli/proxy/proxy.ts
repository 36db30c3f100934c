import { Command } from 'commander';
import { DeviceProxy } from '../../proxy/index.ts';
import { wholeNumber } from '../options/quantities.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { print, printable, printError, toJson } from '../output/terminal.ts';
import { listenForOperators } from './control-socket.ts';
import { addTraceOptions, type TraceOptions, tracing } from './proxy-trace.ts';
import { proxyStatusCommand } from './status.ts';
import { proxySwapCommand } from './swap.ts';

interface Options extends TraceOptions {
  readonly listen?: string;
  readonly backend?: string;
  readonly control?: string;
  readonly mmap?: boolean;
  readonly holdLimit?: number;
  readonly timeout?: number;
  readonly json?: boolean;
}

const HELP = `
The VMM connects to --listen and keeps that connection for ever; the server behind it is exchanged on command:

  ferry proxy swap ctl.sock b.sock      b.sock goes on with the state of the device (the server has to speak migration v2)
  ferry proxy status ctl.sock           how it is

It is for servers that are not Ferry's: a device of ferry serve needs none. The proxy replays to the new back end what the
VMM has set up: DMA maps, interrupts, configuration space. If anything fails, the old back end serves on. When a back end
dies, the VMM is kept, and its accesses wait (--hold-limit) for another one.

Regions can't be mapped through the proxy, because mapped memory would stay that of the old back end; --mmap lets them be
mapped, and rules out a swap.

Examples:
  ferry proxy --listen vm.sock --backend a.sock --control ctl.sock
  ferry proxy swap ctl.sock b.sock
  ferry proxy swap ctl.sock b.sock --fresh
${EXIT_CODES_HELP}`;

/** `ferry proxy`. */
export function proxyCommand(): Command {
  const command = new Command('proxy')
    // Its commands have options of the same names.
    .enablePositionalOptions()
    .description('stand between a VMM and a server, and exchange the server under a running guest')
    .option('--listen <path>', 'socket that the VMM connects to')
    .option('--backend <path>', 'socket of the server')
    .option('--control <path>', 'socket for ferry proxy swap and status, mode 0600')
    .option('--mmap', 'let regions be mapped; the server can then not be exchanged')
    .option('--no-mmap', 'no region can be mapped (default)')
    .option(
      '--hold-limit <ms>',
      'how long the VMM may be kept waiting by a swap or without a server (default: 4000)',
      wholeNumber(1),
    )
    .option(
      '--timeout <ms>',
      'how long a server may take to answer the proxy (default: 2000)',
      wholeNumber(1),
    );
  return addTraceOptions(command)
    .addHelpText('after', HELP)
    .addCommand(proxySwapCommand())
    .addCommand(proxyStatusCommand())
    .action(serve);
}

async function serve(options: Options): Promise<void> {
  const { listen, backend, control, mmap, holdLimit, timeout, json } = options;
  if (listen === undefined || backend === undefined) {
    throw new UsageError('give --listen PATH and --backend PATH, or one of the commands swap and status');
  }
  const signalled = nextSignal();
  const trace = tracing(backend, options);
  const proxy = new DeviceProxy({
    ...{ listen, backend },
    mmap: mmap === true,
    ...(holdLimit === undefined ? {} : { holdLimitMs: holdLimit }),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
    opened: () => trace.tap(),
    report: ({ message, code }) => printError(printable(`ferry: ${message} (${code})`)),
  });
  try {
    const operators = control === undefined ? null : await listenForOperators(control, proxy);
    const steered = control === undefined ? '' : ` (control ${control})`;
    if (json === true)
      print(toJson({ listening: { listen, backend, control: control ?? null, pid: process.pid } }));
    else print(`listening on ${listen}${steered}, before ${backend}`);
    await signalled;
    operators?.close();
  } finally {
    proxy.close();
    trace.close();
  }
}

/** Settles at the first SIGTERM or SIGINT; a second one ends the process as usual. */
function nextSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
}
