import { Command } from 'commander';
import type { DeviceClient } from '../client/index.ts';
import { deviceEnd, type MigrateOptions, migrate } from '../engine/index.ts';
import { connectControl } from './control.ts';
import { EXIT_CODES_HELP } from './exit-code.ts';
import { migrationView } from './migration-view.ts';
import { parseBytes, wholeNumber } from './quantities.ts';
import { summaryOf } from './summary.ts';
import { print, toJson } from './terminal.ts';

interface Options {
  readonly preCopy: boolean;
  readonly maxBandwidth?: number;
  readonly downtime?: number;
  readonly maxIterations?: number;
  readonly timeout?: number;
  readonly json?: boolean;
}

const HELP = `
SOURCE and DESTINATION are control sockets; a main socket's path finds the control socket beside it. A VMM that is
connected to the source is held from the stop on; it is moved by its own means, connects to the destination, and
re-establishes there what it owns: DMA maps and interrupts.

Ctrl-C cancels as long as the destination has not been asked to run: the source runs on.
With --json, progress goes to standard error as one JSON object per line, and the result to standard output.

Examples:
  ferry migrate /tmp/a.sock /tmp/b.sock
  ferry migrate /tmp/a.sock /tmp/b.sock --max-bandwidth 100M
  ferry migrate /tmp/a.sock.control /run/b.control --json
${EXIT_CODES_HELP}`;

/** `ferry migrate`. */
export function migrateCommand(): Command {
  return new Command('migrate')
    .description('move a running device from one server to another')
    .argument('<source>', 'control or main socket of the server that has the device')
    .argument('<destination>', 'control or main socket of the server that is to get it')
    .option('--no-pre-copy', 'stop at once and move everything then')
    .option('--max-bandwidth <bytes>', 'bytes per second at most, such as 100M', parseBytes)
    .option('--downtime <ms>', 'how long the guest may stand still (default: 300)', wholeNumber(1))
    .option('--max-iterations <number>', 'rounds of pre-copy at most (default: 30)', wholeNumber(1))
    .option('--timeout <ms>', 'how long each request may take (default: 5000)', wholeNumber(1))
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(runMigration);
}

async function runMigration(source: string, destination: string, options: Options): Promise<void> {
  const json = options.json === true;
  const cancel = new AbortController();
  const stop = (): void => cancel.abort();
  const clients: DeviceClient[] = [];
  // The second signal ends the command at once; both devices then stay where they are.
  process.once('SIGINT', stop).once('SIGTERM', stop);
  const view = migrationView(json);
  try {
    for (const path of [source, destination]) clients.push(await connectControl(path, options.timeout));
    const [here, there] = clients;
    if (here === undefined || there === undefined) return;
    const from = await deviceEnd(here);
    const to = await deviceEnd(there, from);
    const report = await migrate(from, to, {
      ...migrateOptions(options),
      signal: cancel.signal,
      onProgress: (progress) => view.show(progress),
    });
    view.close();
    if (json) print(toJson(report));
    else for (const line of summaryOf(report)) print(line);
  } finally {
    view.close();
    for (const client of clients) client.close();
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}

function migrateOptions({
  preCopy,
  maxBandwidth,
  downtime,
  maxIterations,
  timeout,
}: Options): MigrateOptions {
  return {
    preCopy,
    limits: {
      bytesPerSecond: maxBandwidth ?? null,
      ...(downtime === undefined ? {} : { downtimeMs: downtime }),
      ...(maxIterations === undefined ? {} : { maxIterations }),
    },
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
  };
}
