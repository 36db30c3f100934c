import { Command } from 'commander';
import { type Channel, listenForChannels, NO_ID, printEndpoint } from '../../channel/index.ts';
import { MigrationError, type MigrationEvent, type ReceiverReport, runReceiver } from '../../engine/index.ts';
import type { FerryError } from '../../errors/index.ts';
import { type OpenVm, openTarget } from '../../vm/index.ts';
import { Doorway } from '../migrate/doorway.ts';
import { addChannelOptions, type ChannelOptions, type Way, wayOf } from '../options/channel-options.ts';
import { addJournalOption, journalsIn, recoverCommand } from '../options/journal-options.ts';
import { wholeNumber } from '../options/quantities.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { failureOf } from '../outcome/failure.ts';
import { onInterrupt } from '../outcome/interrupts.ts';
import { type MigrationView, migrationView } from '../output/migration-view.ts';
import { receptionLines } from '../output/summary.ts';
import { print, printFailure, toJson } from '../output/terminal.ts';
import { addVmOptions, parseDevice, sideOf, type VmOptions } from './vm-options.ts';
import { withVmAdvice } from './vm-report.ts';

interface Options extends VmOptions, ChannelOptions {
  readonly gdb: string;
  readonly listen: string;
  readonly journal?: string;
  readonly wait?: number;
}

const HELP = `
The QEMU of --qmp was started as the source's was, with devices of the same kind in the same places, and besides with
-incoming defer and -gdb unix:PRIVATE/b.gdb,server=on,wait=off. It ends when the VM runs here, or when a migration has
failed after it had begun; then that QEMU has been ended too, unless it may hold the only copy. A sender that only asks
(--dry-run) changes nothing, and the next one may come.

ADDRESS is unix:PATH or tcp:HOST:PORT, as for ferry receive.

Examples:
  ferry vm receive --qmp b.qmp --gdb private/b.gdb disk.sock nic.sock --listen unix:/run/way
  ferry vm receive --qmp b.qmp --gdb private/b.gdb disk.sock --listen tcp:0.0.0.0:4711 --tls-cert b.pem --tls-key b.key --tls-ca ca.pem
${EXIT_CODES_HELP}`;

/** Loading the registers of many devices is one hook of the engine, in milliseconds. */
const HOOK_TIMEOUT = 15_000;

/** `ferry vm receive`. */
export function vmReceiveCommand(): Command {
  const command = new Command('receive')
    .description('take a VM that ferry vm migrate --to sends')
    .argument('<device...>', '[ID@]PATH of all its vfio-user devices, in the order of the sender')
    .requiredOption('--qmp <path>', 'socket of the monitor (QMP)')
    .requiredOption('--gdb <path>', 'socket of the gdb stub, in a directory that nobody else can enter')
    .requiredOption('--listen <address>', 'where to wait for the sender')
    .option('--wait <ms>', 'how long to wait for a sender that was lost (default: 30000)', wholeNumber(0));
  return addVmOptions(addChannelOptions(addJournalOption(command)))
    .addHelpText('after', HELP)
    .action(receive);
}

async function receive(texts: readonly string[], options: Options): Promise<void> {
  const way = await wayOf(options.listen, options);
  const target = await openTarget(sideOf(options.qmp, texts.map(parseDevice), options));
  const doorway = new Doorway();
  const reception = new VmReception(target, doorway, options);
  const off = onInterrupt(() => reception.interrupt());
  try {
    const listener = await listenForChannels(way.endpoint, listening(way, doorway, options));
    announce(printEndpoint(listener.endpoint), options);
    for (const note of target.notes) printFailure({ ...failureOf(new Error(note)), next: [] });
    try {
      show(target, await reception.run(), options);
    } finally {
      doorway.close('the receiver has ended');
      await listener.close();
    }
  } catch (error) {
    throw withVmAdvice(error);
  } finally {
    off();
    await target.close();
  }
}

function listening({ tls }: Way, doorway: Doorway, { compress }: Options) {
  return {
    ...({ role: 'receiver', group: NO_ID, epoch: 0n, compression: compress } as const),
    ...(tls === undefined ? {} : { tls }),
    accepted: (channel: Channel) => doorway.accept(channel),
    refused: (error: FerryError) => printFailure(failureOf(error)),
  };
}

function announce(address: string, { qmp, json }: Options): void {
  if (json === true) print(toJson({ listening: { address, vm: qmp, pid: process.pid } }));
  else print(`listening on ${address} for the VM of ${qmp}`);
}

function show({ ends }: OpenVm, report: ReceiverReport, { json }: Options): void {
  if (json === true) return print(toJson(report));
  for (const line of receptionLines(
    ends.map(({ name }) => name),
    report,
  ))
    print(line);
}

/** Receives until a VM has come. */
class VmReception {
  readonly #target: OpenVm;
  readonly #doorway: Doorway;
  readonly #options: Options;
  #ready = false;

  constructor(target: OpenVm, doorway: Doorway, options: Options) {
    this.#target = target;
    this.#doorway = doorway;
    this.#options = options;
  }

  /** What is given up when READY has been said is only the wait for a sender that was lost. */
  interrupt(): void {
    if (this.#ready) this.#doorway.close('the receiver no longer waits');
    else this.#doorway.cancel('the receiver was cancelled');
  }

  async run(): Promise<ReceiverReport> {
    for (;;) {
      const report = await this.#receive(await this.#doorway.first());
      if (report?.received === true) return report;
    }
  }

  /** Null: refused, and nothing was changed. */
  async #receive(channel: Channel): Promise<ReceiverReport | null> {
    const { json, journal, wait, timeout } = this.#options;
    const view = migrationView(json === true);
    try {
      return await runReceiver({
        ...{ channel, journals: journalsIn(journal), devices: this.#target.ends, hooks: this.#target.hooks },
        ...{ hookTimeoutMs: HOOK_TIMEOUT, reconnect: (signal) => this.#doorway.again(signal) },
        peer: { devices: null, recover: recoverCommand(channel.peer.group, journal) },
        ...(timeout === undefined ? {} : { timeoutMs: timeout }),
        ...(wait === undefined ? {} : { reconnectMs: wait }),
        onProgress: (progress) => view.show(progress),
        onEvent: (event) => this.#note(event, view),
      });
    } catch (error) {
      if (!(error instanceof MigrationError) || error.phase !== 'check' || this.#doorway.closed) throw error;
      printFailure(failureOf(error));
      return null;
    } finally {
      view.close();
    }
  }

  #note(event: MigrationEvent, view: MigrationView): void {
    if (event.type === 'decision' && event.decision === 'READY') this.#ready = true;
    view.tell(event);
  }
}
