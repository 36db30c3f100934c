import { randomBytes } from 'node:crypto';
import { Command } from 'commander';
import { type Channel, connectChannel } from '../../channel/index.ts';
import {
  DEFAULT_LIMITS,
  MigrationControl,
  type MigrationProgress,
  type MigrationReport,
  migrate,
  runSender,
} from '../../engine/index.ts';
import { storyOfMigration } from '../../report/index.ts';
import { type OpenVm, openSource, openTarget, type VmSource, type VmTarget } from '../../vm/index.ts';
import { connectAgain } from '../migrate/send.ts';
import { listenForOperators } from '../migration/operator-socket.ts';
import { addChannelOptions, type ChannelOptions, wayOf } from '../options/channel-options.ts';
import { addJournalOption, journalsIn, recoverCommand } from '../options/journal-options.ts';
import { parseBytes, wholeNumber } from '../options/quantities.ts';
import { addReportOption, type ReportOption, reported } from '../options/report-option.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { onInterrupt } from '../outcome/interrupts.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { type MigrationView, migrationView } from '../output/migration-view.ts';
import { dryRunLines } from '../output/summary.ts';
import { print, toJson } from '../output/terminal.ts';
import { addVmOptions, parseDevice, parsePair, sideOf, type VmOptions } from './vm-options.ts';
import { BlackoutClock, vmSummary, withVmAdvice } from './vm-report.ts';

interface Options extends VmOptions, ChannelOptions, ReportOption {
  readonly toQmp?: string;
  readonly toGdb?: string;
  readonly to?: string;
  readonly bandwidth?: number;
  readonly downtimeLimit?: number;
  readonly maxIterations?: number;
  readonly switchAnyway?: boolean;
  readonly dryRun?: boolean;
  readonly journal?: string;
  readonly wait?: number;
}

const HELP = `
Without --to both VMs are on this host, and devices are pairs of sockets, SOURCE=DESTINATION. With --to, devices are the
source's, and a ferry vm receive near the other VM waits at ADDRESS. Name all vfio-user devices of the VM. ID@ before a
path says which device it is, where QEMU does not tell.

Everything that will be needed is tried before anything is changed (--dry-run stops there). QEMU's own stream travels over
the same channel as the devices', so that TLS, --bandwidth and --compress are for both. Ctrl-C cancels as long as the
destination has not been given the VM: it runs on here. Afterwards the source's QEMU stands still; end it when you like.

The gdb socket of the destination lets whoever opens it read and change the guest. It has to be in a directory that nobody
else can enter.

Examples:
  ferry vm migrate --qmp a.qmp --to-qmp b.qmp --to-gdb private/b.gdb disk-a.sock=disk-b.sock nic-a.sock=nic-b.sock
  ferry vm migrate --qmp a.qmp disk.sock nic.sock --to tcp:far.example:4711 --tls-cert a.pem --tls-key a.key --tls-ca ca.pem
${EXIT_CODES_HELP}`;

/**
 * When nothing is said, a blackout of 100 ms is aimed at: this is for what is left to move, and QEMU's own part takes about
 * as long. After so many rounds in vain, what the engine does.
 */
const AIM = 60;
const ROUNDS_TO_AIM = 5;
const GROUP_SIZE = 16;
/** Stopping a VM, and reading what its VMM keeps, is one hook of the engine, in milliseconds. */
const HOOK_TIMEOUT = 15_000;

/** `ferry vm migrate`. */
export function vmMigrateCommand(): Command {
  const command = new Command('migrate')
    .description('move a running VM and its devices to another QEMU')
    .argument('<device...>', '[ID@]SOURCE=DESTINATION; with --to, [ID@]SOURCE')
    .requiredOption('--qmp <path>', "socket of the source's monitor (QMP)")
    .option('--to-qmp <path>', "socket of the destination's monitor")
    .option('--to-gdb <path>', "socket of the destination's gdb stub")
    .option('--to <address>', 'where ferry vm receive listens')
    .option('--bandwidth <bytes>', 'bytes per second at most, such as 100M', parseBytes)
    .option(
      '--downtime-limit <ms>',
      'how long the VM may stand still (default: 60, after 5 rounds 300)',
      wholeNumber(1),
    )
    .option('--max-iterations <number>', 'rounds of pre-copy at most (default: 30)', wholeNumber(1))
    .option('--switch-anyway', 'when the rounds end without success, switch all the same')
    .option('--wait <ms>', 'how long to look for a receiver that was lost (default: 30000)', wholeNumber(0))
    .option('--dry-run', 'try everything that will be needed on both sides, and stop there');
  return addVmOptions(addReportOption(addChannelOptions(addJournalOption(command))))
    .addHelpText('after', HELP)
    .action(run);
}

async function run(devices: readonly string[], options: Options): Promise<void> {
  const move = new VmMove(options);
  const work = (): Promise<MigrationReport> =>
    options.to === undefined ? move.here(devices, options) : move.away(devices, options.to);
  try {
    move.show(await reported(options, 'Migration of a VM', work, storyOfMigration));
  } catch (error) {
    throw withVmAdvice(error);
  } finally {
    await move.close();
  }
}

/** One migration of a VM. */
class VmMove {
  readonly #options: Options;
  readonly #view: MigrationView;
  readonly #control = new MigrationControl();
  readonly #clock = new BlackoutClock();
  readonly #group = randomBytes(GROUP_SIZE).toString('hex');
  readonly #ends: (() => void | Promise<void>)[] = [];
  #source: OpenVm<VmSource> | null = null;
  #target: VmTarget | null = null;
  #relaxed = false;
  #corked = false;

  constructor(options: Options) {
    this.#options = options;
    this.#view = migrationView(options.json === true);
    this.#ends.push(onInterrupt(() => this.#control.cancel()));
  }

  /** Both VMs are on this host. */
  async here(texts: readonly string[], { qmp, toQmp, toGdb }: Options): Promise<MigrationReport> {
    if (toQmp === undefined || toGdb === undefined) {
      throw new UsageError('name the other VM: --to-qmp and --to-gdb, or --to a ferry vm receive');
    }
    const pairs = texts.map(parsePair);
    const source = await this.#open(
      qmp,
      pairs.map((pair) => pair.source),
    );
    const target = await openTarget(
      sideOf(
        toQmp,
        pairs.map((pair) => pair.destination),
        { ...this.#options, gdb: toGdb },
      ),
    );
    this.#target = target.vm;
    this.#ends.push(() => target.close());
    const report = await migrate(source.ends, target.ends, {
      ...this.#common(),
      hooks: { ...source.hooks, ...target.hooks },
      recover: `ferry recover --journal ${this.#journals().name}`,
    });
    return { ...report, notes: [...report.notes, ...target.notes] };
  }

  /** The other VM is behind a ferry vm receive. */
  async away(texts: readonly string[], to: string): Promise<MigrationReport> {
    const { qmp, journal, wait } = this.#options;
    const way = await wayOf(to, this.#options);
    const source = await this.#open(qmp, texts.map(parseDevice));
    this.#ends.push(listenForOperators(this.#journals().name, this.#group, this.#control));
    const connect = (): Promise<Channel> =>
      connectChannel(way.endpoint, {
        ...{ role: 'sender', group: this.#group, epoch: 1n, compression: this.#options.compress },
        ...(way.tls === undefined ? {} : { tls: way.tls }),
      });
    return runSender({
      ...this.#common(),
      ...{ devices: source.ends, channel: await connect(), hooks: source.hooks },
      peer: { devices: null, recover: recoverCommand(this.#group, journal) },
      reconnect: (signal) => connectAgain(connect, signal),
      ...(wait === undefined ? {} : { reconnectMs: wait }),
    });
  }

  show(report: MigrationReport): void {
    const { json } = this.#options;
    if (this.#source === null) return;
    const figures = this.#clock.figures(this.#source.vm, this.#target);
    if (json === true) return print(toJson({ ...report, vm: figures }));
    const lines = report.dryRun
      ? dryRunLines(report)
      : vmSummary(report, figures, this.#source.ends.length - 1);
    for (const line of lines) print(line);
  }

  async close(): Promise<void> {
    this.#view.close();
    for (const end of this.#ends.reverse()) await end();
  }

  async #open(monitorPath: string, devices: Parameters<typeof sideOf>[1]): Promise<OpenVm<VmSource>> {
    const { scratch, timeout } = this.#options;
    const given = {
      ...(scratch === undefined ? {} : { scratch }),
      ...(timeout === undefined ? {} : { timeout }),
    };
    const source = await openSource(sideOf(monitorPath, devices, given));
    this.#source = source;
    this.#ends.push(() => source.close());
    return source;
  }

  /** A guest that writes as fast as this host can send is not given up for the difference. */
  #relax({ iteration }: MigrationProgress): void {
    const { downtimeLimit } = this.#options;
    if (downtimeLimit !== undefined || this.#relaxed || iteration < ROUNDS_TO_AIM) return;
    this.#relaxed = true;
    this.#control.setLimits({ downtimeMs: DEFAULT_LIMITS.downtimeMs });
  }

  /** What is told within one turn of the event loop is one write: whoever reads it wakes up once, also in the blackout. */
  #tellTogether(): void {
    if (this.#corked) return;
    this.#corked = true;
    process.stderr.cork();
    setImmediate(() => {
      this.#corked = false;
      process.stderr.uncork();
    });
  }

  #journals() {
    return journalsIn(this.#options.journal);
  }

  #common() {
    const {
      bandwidth,
      downtimeLimit,
      maxIterations,
      switchAnyway = false,
      timeout,
      dryRun = false,
    } = this.#options;
    return {
      ...{ dryRun, control: this.#control, journals: this.#journals(), hookTimeoutMs: HOOK_TIMEOUT },
      limits: {
        bytesPerSecond: bandwidth ?? null,
        ...{ downtimeMs: downtimeLimit ?? AIM, strict: downtimeLimit !== undefined },
        whenNotConverging: switchAnyway ? ('switch' as const) : ('fail' as const),
        ...(maxIterations === undefined ? {} : { maxIterations }),
      },
      ...(timeout === undefined ? {} : { timeoutMs: timeout }),
      onProgress: (progress: MigrationProgress) => {
        this.#relax(progress);
        this.#view.show(progress);
      },
      onEvent: (event: Parameters<MigrationView['tell']>[0]) => {
        this.#clock.note(event);
        this.#tellTogether();
        this.#view.tell(event);
      },
    };
  }
}
