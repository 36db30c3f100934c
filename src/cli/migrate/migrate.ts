import { Command } from 'commander';
import type { MovableDevice } from '../../client/index.ts';
import { deviceEnd, type MigrationReport, migrate } from '../../engine/index.ts';
import { storyOfMigration } from '../../report/index.ts';
import { closingNotes, DEVICE_HELP, openDevice } from '../access/device-access.ts';
import { addChannelOptions, addConnectionsOption } from '../options/channel-options.ts';
import { addConfigurationOption, endOptionsOf } from '../options/configuration-option.ts';
import { addJournalOption, journalsIn } from '../options/journal-options.ts';
import { addLimitOptions, limitsOf, timeoutOf } from '../options/limit-options.ts';
import { wholeNumber } from '../options/quantities.ts';
import { addReportOption, type ReportOption, reported } from '../options/report-option.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { onInterrupt } from '../outcome/interrupts.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { migrationView } from '../output/migration-view.ts';
import { dryRunLines, summaryOf } from '../output/summary.ts';
import { print, printError, toJson } from '../output/terminal.ts';
import { type SendOptions, send } from './send.ts';

type Options = Omit<SendOptions, 'to'> & ReportOption & { readonly to?: string };

const HELP = `
Without --to there are two sockets, SOURCE and DESTINATION, and this process moves the device by itself. With --to, all
are sources, which are moved as one group to a ferry receive with as many destinations in the same order.

Servers are named by their control sockets; a main socket's path finds the control socket beside it. A VMM that is
connected to a source is held from the stop on; it is moved by its own means, connects to the destination, and
re-establishes there what it owns: DMA maps and interrupts.
${DEVICE_HELP}

ADDRESS is unix:PATH or tcp:HOST:PORT. Another host than this one needs TLS: a certificate for each side, of an authority
that both name.

Ctrl-C cancels as long as the destination has not been given the devices: the source runs on.
With --json, progress goes to standard error as one JSON object per line, with --to events too, and the result to
standard output.

Examples:
  ferry migrate /tmp/a.sock /tmp/b.sock
  ferry migrate 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001 /tmp/b.sock
  ferry migrate /tmp/a.sock /tmp/b.sock --bandwidth 100M --report a-to-b.html
  ferry migrate /tmp/disk.sock /tmp/nic.sock --to tcp:127.0.0.1:4711
  ferry migrate /tmp/a.sock --to tcp:far.example:4711 --tls-cert a.pem --tls-key a.key --tls-ca ca.pem --dry-run
${EXIT_CODES_HELP}`;

/** `ferry migrate`. */
export function migrateCommand(): Command {
  const command = new Command('migrate')
    .description('move running devices to other servers')
    .argument('<control...>', 'SOURCE DESTINATION; with --to, all sources')
    .option('--to <address>', 'where ferry receive listens');
  addConnectionsOption(addChannelOptions(addConfigurationOption(addLimitOptions(command))));
  return addReportOption(addJournalOption(command))
    .option('--wait <ms>', 'how long to look for a receiver that was lost (default: 30000)', wholeNumber(0))
    .option('--paused', 'the guest is paused, and stays so')
    .option('--force', 'move a group although a device has no P2P states')
    .option('--dry-run', 'compare both sides, say whether it would work, and stop there')
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(runMigration);
}

async function runMigration(paths: readonly string[], options: Options): Promise<void> {
  const { to } = options;
  const work = () => (to === undefined ? here(paths, options) : send(paths, { ...options, to }));
  const report = await reported(options, 'Migration', work, storyOfMigration);
  if (options.json === true) return print(toJson(report));
  for (const line of report.dryRun ? dryRunLines(report) : summaryOf(report)) print(line);
}

/** Both sides in this process. */
async function here(paths: readonly string[], options: Options): Promise<MigrationReport> {
  const [source, destination] = paths;
  if (source === undefined || destination === undefined || paths.length !== 2) {
    throw new UsageError('name a SOURCE and a DESTINATION, or with --to all sources');
  }
  const cancel = new AbortController();
  const off = onInterrupt(() => cancel.abort());
  const clients: MovableDevice[] = [];
  const view = migrationView(options.json === true);
  try {
    const here = await openDevice(source, options.timeout);
    clients.push(here);
    const there = await openDevice(destination, options.timeout);
    clients.push(there);
    const from = await deviceEnd(here, null, endOptionsOf(options));
    const report = await migrate(from, await deviceEnd(there, from, endOptionsOf(options)), {
      ...localOptions(options),
      signal: cancel.signal,
      onProgress: (progress) => view.show(progress),
    });
    view.close();
    for (const note of options.dryRun === true ? [] : closingNotes([there])) printError(note);
    return report;
  } finally {
    view.close();
    for (const client of clients) client.close();
    off();
  }
}

/** Without a directory, the decisions of both sides end with this process, as the migration does. */
function localOptions(options: Options) {
  const { preCopy, paused = false, dryRun = false, journal } = options;
  return {
    ...{ preCopy, paused, dryRun, limits: limitsOf(options) },
    ...(journal === undefined
      ? {}
      : { journals: journalsIn(journal), recover: `ferry recover --journal ${journal}` }),
    ...timeoutOf(options),
  };
}
