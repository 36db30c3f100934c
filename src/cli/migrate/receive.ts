import { Command } from 'commander';
import { type Channel, listenForChannels, NO_ID, printEndpoint } from '../../channel/index.ts';
import { MigrationError, type ReceiverReport, runReceiver } from '../../engine/index.ts';
import type { FerryError } from '../../errors/index.ts';
import { storyOfReception } from '../../report/index.ts';
import { closingNotes, DEVICE_HELP } from '../access/device-access.ts';
import { connectGroup, type DeviceGroup } from '../access/device-group.ts';
import { addChannelOptions, type ChannelOptions, type Way, wayOf } from '../options/channel-options.ts';
import {
  addConfigurationOption,
  type ConfigurationOption,
  endOptionsOf,
} from '../options/configuration-option.ts';
import { addJournalOption, forgetOld, journalsIn, recoverCommand } from '../options/journal-options.ts';
import { timeoutOf } from '../options/limit-options.ts';
import { wholeNumber } from '../options/quantities.ts';
import { addReportOption, type ReportOption, reported } from '../options/report-option.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { failureOf } from '../outcome/failure.ts';
import { onInterrupt } from '../outcome/interrupts.ts';
import { migrationView } from '../output/migration-view.ts';
import { receptionLines } from '../output/summary.ts';
import { print, printError, printFailure, toJson } from '../output/terminal.ts';
import { forgetKept, keepBeside } from '../recover/kept-state.ts';
import { Doorway } from './doorway.ts';

interface Options extends ChannelOptions, ConfigurationOption, ReportOption {
  readonly listen: string;
  readonly journal?: string;
  readonly keep?: boolean;
  readonly timeout?: number;
  readonly wait?: number;
  readonly json?: boolean;
}

const HELP = `
The devices must be what the sender's are, in the same order, and nobody may use them yet: what is in them is replaced.
It ends when they run here, or when a migration has failed after it had begun. A sender whose devices do not fit, or who
only asks (--dry-run), changes nothing, and the next one may come.
${DEVICE_HELP}

ADDRESS is unix:PATH (for the same user alone) or tcp:HOST:PORT. TCP without TLS is taken on this host alone; with
--tls-cert, --tls-key and --tls-ca whoever has a certificate of that authority may send, or only NAME with --tls-name.

Ctrl-C gives up as long as READY was not said. Afterwards only the sender knows who has the devices: this side neither
runs them nor throws away what it was given, and a sender that was lost is waited for (--wait).

With --keep all that comes is also written to a file beside the journal, before READY is said: should a server end before
its device runs, ferry recover gives the next one the same state. It takes the place on the disk, and the time.

Examples:
  ferry receive /tmp/b.sock --listen tcp::4711
  ferry receive /tmp/disk.sock /tmp/nic.sock --listen tcp:0.0.0.0:4711 --tls-cert b.pem --tls-key b.key --tls-ca ca.pem
${EXIT_CODES_HELP}`;

/** `ferry receive`. */
export function receiveCommand(): Command {
  const command = new Command('receive')
    .description('receive devices that ferry migrate --to sends')
    .argument('<control...>', 'control or main sockets of the servers that are to get them')
    .requiredOption('--listen <address>', 'where to wait for the sender');
  return addReportOption(addJournalOption(addConfigurationOption(addChannelOptions(command))))
    .option('--keep', 'keep what comes in a file too, until the devices run')
    .option('--timeout <ms>', 'how long each request may take (default: 5000)', wholeNumber(1))
    .option('--wait <ms>', 'how long to wait for a sender that was lost (default: 30000)', wholeNumber(0))
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(receive);
}

async function receive(paths: readonly string[], options: Options): Promise<void> {
  const way = await wayOf(options.listen, options);
  const devices = await connectGroup(paths, options.timeout, endOptionsOf(options));
  const doorway = new Doorway();
  const reception = new Reception(devices, doorway, options);
  const off = onInterrupt(() => reception.interrupt());
  try {
    const listener = await listenForChannels(way.endpoint, listening(way, doorway, options));
    announce(printEndpoint(listener.endpoint), devices, options);
    try {
      const story = (report: ReceiverReport) => storyOfReception(report, 'Reception');
      show(devices, await reported(options, 'Reception', () => reception.run(), story), options);
    } finally {
      doorway.close('the receiver has ended');
      await listener.close();
      await forgetOld(journalsIn(options.journal));
    }
  } finally {
    off();
    devices.close();
  }
}

/** It is the sender who names the migration. */
function listening({ tls }: Way, doorway: Doorway, { compress }: Options) {
  return {
    ...({ role: 'receiver', group: NO_ID, epoch: 0n, compression: compress } as const),
    ...(tls === undefined ? {} : { tls }),
    accepted: (channel: Channel) => doorway.accept(channel),
    refused: (error: FerryError) => printFailure(failureOf(error)),
  };
}

function announce(address: string, { clients }: DeviceGroup, { json }: Options): void {
  const devices = clients.map(({ path }) => path);
  if (json === true) print(toJson({ listening: { address, devices, pid: process.pid } }));
  else print(`listening on ${address} for ${devices.join(', ')}`);
}

function show({ clients }: DeviceGroup, report: ReceiverReport, { json }: Options): void {
  for (const note of closingNotes(clients)) printError(note);
  if (json === true) return print(toJson(report));
  const names = clients.map(({ path }) => path);
  for (const line of receptionLines(names, report)) print(line);
}

/** Receives until something has come. */
class Reception {
  readonly #devices: DeviceGroup;
  readonly #doorway: Doorway;
  readonly #options: Options;
  readonly #cancelled = new AbortController();

  constructor(devices: DeviceGroup, doorway: Doorway, options: Options) {
    this.#devices = devices;
    this.#doorway = doorway;
    this.#options = options;
  }

  /** What is given up when READY has been said is only the wait for a sender that was lost. */
  interrupt(): void {
    this.#doorway.close('the receiver no longer waits');
    this.#cancelled.abort();
  }

  async run(): Promise<ReceiverReport> {
    for (;;) {
      const channel = await this.#doorway.first();
      const report = await this.#receive(channel);
      if (report?.received === true) return report;
    }
  }

  /** Null: refused, and nothing was changed. */
  async #receive(channel: Channel): Promise<ReceiverReport | null> {
    const { json, journal, keep } = this.#options;
    const view = migrationView(json === true);
    const journals = journalsIn(journal);
    try {
      const report = await runReceiver({
        ...this.#settings(channel),
        journals,
        ...(keep === true ? { keep: await keepBeside(journals, channel.peer) } : {}),
        devices: await this.#devices.ends(),
        onProgress: (progress) => view.show(progress),
        onEvent: (event) => view.tell(event),
        signal: this.#cancelled.signal,
        reconnect: (signal) => this.#doorway.again(signal),
      });
      await forgetKept(journals, report.group);
      return report;
    } catch (error) {
      if (error instanceof MigrationError && error.owner === 'source')
        await forgetKept(journals, channel.peer.group);
      if (!(error instanceof MigrationError) || error.phase !== 'check' || this.#doorway.closed) throw error;
      printFailure(failureOf(error));
      return null;
    } finally {
      view.close();
    }
  }

  #settings(channel: Channel) {
    const { journal, wait } = this.#options;
    return {
      channel,
      peer: { devices: null, recover: recoverCommand(channel.peer.group, journal) },
      ...timeoutOf(this.#options),
      ...(wait === undefined ? {} : { reconnectMs: wait }),
    };
  }
}
