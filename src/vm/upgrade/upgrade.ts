import { existsSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { awaitLoaded, runVm } from '../destination/incoming.ts';
import { VmPerformer } from '../performer.ts';
import { QmpClient } from '../qmp/qmp-client.ts';
import { leaveVm, type ReachedVm, reachVm, requireNone, type VmDevice } from '../reach.ts';
import type { VmRecord } from '../record.ts';
import { compareViews } from '../source/client-state.ts';
import { awaitCompleted } from '../source/outgoing.ts';
import { qmp } from '../step.ts';
import { type Lap, Stopwatch } from '../stopwatch.ts';
import { VmError } from '../vm-error.ts';
import { judgeUpgrade, type UpgradeView } from './judge.ts';
import {
  goBack,
  handOver,
  prepareUpgrade,
  quietenLines,
  requireNotFailed,
  restorePolicies,
  runUpgraded,
  setUpUpgraded,
  standStill,
  type UpgradeChannels,
  type UpgradeSettings,
} from './sequences.ts';

/** A VM that is to pass to another QEMU of this host, which waits for it. */
export interface UpgradeOptions {
  /** The monitor of the QEMU that has the VM. */
  readonly monitorPath: string;
  /** Where the other one waits. */
  readonly channels: UpgradeChannels;
  /** The monitor that the other one makes once it has the memory. */
  readonly newMonitorPath: string;
  /** Likewise its gdb stub, in a directory that nobody else can enter. */
  readonly newGdbPath: string;
  /** All vfio-user devices of the VM. */
  readonly devices: readonly VmDevice[];
  /** Stop when everything has been looked at. */
  readonly dryRun?: boolean;
  readonly scratch?: string;
  /** How long each answer, and the other QEMU's start, may take, in milliseconds. Default 5000. */
  readonly timeoutMs?: number;
}

/** What an upgrade did. */
export interface UpgradeReport {
  /** What QEMU calls the devices. */
  readonly devices: readonly string[];
  /** It went on from an attempt that had failed after the devices had been taken. */
  readonly again: boolean;
  /** From `stop` until the VM ran in the other QEMU, in milliseconds; null in a dry run. */
  readonly blackoutMs: number | null;
  /** The same by the clocks of both QEMUs; null when it stood still before. */
  readonly standstillMs: number | null;
  readonly steps: readonly Lap[];
  readonly notes: readonly string[];
}

/** How often the other QEMU is looked for, in milliseconds. */
const PERIOD_MS = 5;
/** What to do for that. */
const NOT_WAITING = 'start the new QEMU with -incoming for both channels, and have it wait there';

/**
 * Passes a running VM to another QEMU of this host, which gets its very memory (cpr-transfer), with its devices: their servers
 * keep the states while QEMU connects anew. Whatever fails before the other QEMU has taken a device leaves the VM running where
 * it was. Rejects with VmError; ERR_VM_STRANDED: the VM stands still, and another attempt with a QEMU started anew goes on.
 */
export async function upgradeVm(options: UpgradeOptions): Promise<UpgradeReport> {
  const reached = await reachVm('upgrade', options);
  const upgrade = new VmUpgrade(reached, options);
  try {
    return await upgrade.run();
  } finally {
    await upgrade.close();
    await leaveVm(reached);
  }
}

class VmUpgrade {
  readonly #old: ReachedVm;
  readonly #options: UpgradeOptions;
  readonly #ids: readonly string[];
  readonly #stopwatch = new Stopwatch();
  #new: { readonly monitor: QmpClient; readonly performer: VmPerformer } | null = null;

  constructor(old: ReachedVm, options: UpgradeOptions) {
    this.#old = old;
    this.#options = options;
    this.#ids = old.examined.devices.map(({ id }) => id);
  }

  async run(): Promise<UpgradeReport> {
    const view = await this.#judge();
    const again = view.kept.some((each) => each !== null);
    const notes = this.#old.notes;
    const common = { devices: this.#ids, again, notes };
    if (this.#options.dryRun === true) return { ...common, blackoutMs: null, standstillMs: null, steps: [] };
    const { performer } = this.#old;
    const settings = await performer.run(prepareUpgrade(this.#ids));
    let stoppedAt = performance.now();
    let record: VmRecord;
    try {
      const lines = again ? [] : await performer.run(quietenLines(this.#ids));
      const views = await this.#views(view);
      stoppedAt = performance.now();
      const standing = performer.run(standStill(this.#ids, this.#ecam, views, lines));
      record = await this.#stopwatch.time('stop the VM and its devices', standing);
      await this.#handOver();
    } catch (error) {
      throw await this.#undo(error, view, settings);
    }
    await this.#finish(record, view.policies).catch((error: unknown) => {
      throw this.#stranded(error);
    });
    const blackoutMs = performance.now() - stoppedAt;
    const standstillMs = again ? null : this.#standstill();
    return { ...common, blackoutMs, standstillMs, steps: this.#stopwatch.laps };
  }

  async close(): Promise<void> {
    await this.#new?.performer.close();
    this.#new?.monitor.close();
  }

  get #ecam() {
    const { ecam } = this.#old.examined;
    if (ecam === null) throw new VmError('ERR_VM_REFUSED', 'nobody has looked at the VM');
    return ecam;
  }

  /** @throws VmError ERR_VM_REFUSED with all that speaks against it */
  async #judge(): Promise<UpgradeView> {
    const { performer, examined, clients } = this.#old;
    const { monitorPath, channels, newMonitorPath } = this.#options;
    const unable = clients.flatMap(({ agreement }, i) =>
      agreement.reconnection
        ? []
        : [`the server of ${this.#ids[i] ?? i} can't keep a state for a QEMU that comes back`],
    );
    requireNone('upgrade', monitorPath, unable);
    const view = await performer.run(judgeUpgrade(this.#ids, examined.machine.status));
    const isThere = existsSync(newMonitorPath);
    const lack = this.#hasPassed
      ? [
          ...(isThere
            ? []
            : [`the new QEMU, which has been given everything, has no monitor at ${newMonitorPath}`]),
        ]
      : [
          ...(isSocket(channels.cpr) ? [] : [`nobody waits at ${channels.cpr}: ${NOT_WAITING}`]),
          ...(isThere
            ? [`${newMonitorPath} is there already: the new QEMU makes it once it has the memory; remove it`]
            : []),
        ];
    requireNone('upgrade', monitorPath, [...view.reasons, ...lack]);
    return view;
  }

  /** An attempt before has got as far as QEMU does by itself. */
  get #hasPassed(): boolean {
    return this.#old.examined.machine.status === 'postmigrate';
  }

  /** Where QEMU and a server do not agree QEMU is asked; it can't be when it was cut off. */
  async #views({ kept }: UpgradeView) {
    if (kept.every((each) => each === null))
      return this.#old.performer.run(compareViews(this.#ecam, this.#ids));
    return kept.map((each) => each ?? ('server' as const));
  }

  async #handOver(): Promise<void> {
    const { performer, timeoutMs } = this.#old;
    if (!this.#hasPassed) await performer.run(handOver(this.#options.channels));
    const started = performance.now();
    this.#new = await this.#reachNew(started + timeoutMs);
    await this.#new.performer.run(awaitLoaded(timeoutMs));
    await performer.run(awaitCompleted(timeoutMs));
    this.#stopwatch.note('QEMU hands over', started);
  }

  /** Its monitor appears once it has the memory and its devices. */
  async #reachNew(deadline: number) {
    const { newMonitorPath, newGdbPath } = this.#options;
    const { performer, clients, folder, timeoutMs } = this.#old;
    while (!existsSync(newMonitorPath)) {
      await performer.run(requireNotFailed());
      if (performance.now() > deadline)
        throw new VmError('ERR_VM_TIMEOUT', `the new QEMU has made no monitor at ${newMonitorPath} in time`);
      await sleep(PERIOD_MS);
    }
    const monitor = await QmpClient.connect(newMonitorPath, { timeoutMs });
    const options = { monitor, gdbPath: newGdbPath, clients, folder: folder.path, timeoutMs };
    return { monitor, performer: new VmPerformer(options) };
  }

  /**
   * Both QEMUs have the same eventfds (hw/vfio/cpr.c), and the old one would go on taking interrupts from them: it ends before
   * anything runs.
   */
  async #finish(record: VmRecord, policies: UpgradeView['policies']): Promise<void> {
    const next = this.#new?.performer;
    if (next === undefined) throw new TypeError('the new QEMU has not been reached');
    await this.#stopwatch.time('write registers', next.run(setUpUpgraded(record)));
    await this.#stopwatch.time('end the old QEMU', this.#endOld());
    await this.#stopwatch.time('run', this.#runNew(next));
    await next.run(restorePolicies(policies));
  }

  async #endOld(): Promise<void> {
    const { performer, monitor, timeoutMs } = this.#old;
    await performer.run(qmp('quit'));
    await monitor.ended(timeoutMs);
  }

  async #runNew(next: VmPerformer): Promise<void> {
    await next.run(runUpgraded(this.#ids));
    await next.run(runVm());
  }

  /** The VM runs where it was, unless the other QEMU has taken a device. Returns what is to be thrown. */
  async #undo(error: unknown, { policies }: UpgradeView, settings: UpgradeSettings): Promise<unknown> {
    const { performer, timeoutMs } = this.#old;
    try {
      if (!(await performer.run(goBack(this.#ids, settings, timeoutMs)))) return this.#stranded(error);
      await performer.run(restorePolicies(policies));
      return error;
    } catch (cause) {
      return this.#stranded(cause);
    }
  }

  #stranded(error: unknown): VmError {
    const why = error instanceof Error ? error.message : String(error);
    const text = `the VM stands still: the new QEMU has taken its devices, and did not come to run it: ${why}`;
    return new VmError('ERR_VM_STRANDED', text, { monitor: this.#options.monitorPath }, error);
  }

  #standstill(): number | null {
    const from = this.#old.performer.timeOf('STOP');
    const to = this.#new?.performer.timeOf('RESUME') ?? null;
    return from === null || to === null ? null : to - from;
  }
}

function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}
