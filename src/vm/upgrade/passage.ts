import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Journals } from '../../journal/index.ts';
import { awaitLoaded } from '../destination/incoming.ts';
import { VmPerformer } from '../performer.ts';
import type { QmpClient } from '../qmp/qmp-client.ts';
import { type ReachedVm, requireNone } from '../reach.ts';
import type { VmRecord } from '../record.ts';
import { vmName } from '../side.ts';
import { compareViews } from '../source/client-state.ts';
import { awaitCompleted } from '../source/outgoing.ts';
import { qmp } from '../step.ts';
import { Stopwatch } from '../stopwatch.ts';
import { VmError } from '../vm-error.ts';
import { judgeUpgrade, type UpgradeView } from './judge.ts';
import type { UpgradeOptions, UpgradeReport } from './options.ts';
import type { Before, Successor, UpgradePlan } from './plan.ts';
import { listens, reachMonitor } from './reach-vmm.ts';
import {
  handOver,
  prepareUpgrade,
  quietenLines,
  readSettings,
  requireNotFailed,
  restorePolicies,
  runUpgraded,
  setUpUpgraded,
  standStill,
} from './sequences.ts';
import { settle } from './settle.ts';
import { abort, type BegunUpgrade, beginUpgrade, commit, done } from './upgrade-journal.ts';

/** How often the other QEMU is looked for, in milliseconds. */
const PERIOD_MS = 5;
/** What to do for that. */
const NOT_WAITING = 'start the new QEMU with -incoming for both channels, and have it wait there';

/** One attempt to pass a VM to another QEMU. */
export class Passage {
  readonly #old: ReachedVm;
  readonly #options: UpgradeOptions & { readonly journals: Journals };
  readonly #successor: Successor;
  readonly #earlier: BegunUpgrade | null;
  readonly #ids: readonly string[];
  readonly #stopwatch = new Stopwatch();
  #begun: BegunUpgrade | null = null;
  #new: { readonly monitor: QmpClient; readonly performer: VmPerformer } | null = null;

  /** `old` and `earlier` stay the caller's. */
  constructor(
    old: ReachedVm,
    options: UpgradeOptions & { readonly journals: Journals },
    earlier: BegunUpgrade | null,
  ) {
    const { channels, newMonitorPath, newGdbPath } = options;
    this.#old = old;
    this.#options = options;
    this.#earlier = earlier;
    this.#successor = {
      channels: { main: resolve(channels.main), cpr: resolve(channels.cpr) },
      ...{ newMonitorPath: resolve(newMonitorPath), newGdbPath: resolve(newGdbPath) },
    };
    this.#ids = old.examined.devices.map(({ id }) => id);
  }

  /** Rejects as `upgradeVm` does. */
  async run(): Promise<UpgradeReport> {
    const view = await this.#judge();
    const again = view.kept.some((each) => each !== null);
    const common = { devices: this.#ids, again, notes: this.#old.notes };
    if (this.#options.dryRun === true) return { ...common, blackoutMs: null, standstillMs: null, steps: [] };
    const { performer } = this.#old;
    const begun = await this.#begin(view);
    let stoppedAt = performance.now();
    let record: VmRecord;
    try {
      await performer.run(prepareUpgrade(this.#ids));
      const lines = again ? [] : await performer.run(quietenLines(this.#ids));
      const views = await this.#views(view);
      stoppedAt = performance.now();
      const standing = performer.run(standStill(this.#ids, this.#ecam, views, lines));
      record = await this.#stopwatch.time('stop the VM and its devices', standing);
      await this.#handOver();
    } catch (error) {
      throw await this.#undo(error, begun);
    }
    await this.#finish(record, begun).catch((error: unknown) => {
      throw this.#stranded(error);
    });
    const blackoutMs = performance.now() - stoppedAt;
    const notes = [...common.notes, ...(await this.#tidyUp(begun))];
    const standstillMs = again ? null : this.#standstill();
    return { ...common, notes, blackoutMs, standstillMs, steps: this.#stopwatch.laps };
  }

  async close(): Promise<void> {
    await this.#new?.performer.close();
    this.#new?.monitor.close();
    if (this.#begun !== this.#earlier) await this.#begun?.journal.close();
  }

  get #ecam() {
    const { ecam } = this.#old.examined;
    if (ecam === null) throw new VmError('ERR_VM_REFUSED', 'nobody has looked at the VM');
    return ecam;
  }

  /** @throws VmError ERR_VM_REFUSED with all that speaks against it */
  async #judge(): Promise<UpgradeView> {
    const { performer, examined, clients } = this.#old;
    const { monitorPath } = this.#options;
    const unable = clients.flatMap(({ agreement }, i) =>
      agreement.reconnection
        ? []
        : [`the server of ${this.#ids[i] ?? i} can't keep a state for a QEMU that comes back`],
    );
    requireNone('upgrade', monitorPath, unable);
    const view = await performer.run(judgeUpgrade(this.#ids, examined.machine.status));
    requireNone('upgrade', monitorPath, [...view.reasons, ...(await this.#lack())]);
    return view;
  }

  /** What is missing of the new QEMU. */
  async #lack(): Promise<readonly string[]> {
    const { channels, newMonitorPath } = this.#successor;
    const isThere = await listens(newMonitorPath, this.#old.timeoutMs);
    if (this.#hasPassed && !isThere) throw handedOver(newMonitorPath);
    if (this.#hasPassed) return [];
    return [
      ...(isSocket(channels.cpr) ? [] : [`nobody waits at ${channels.cpr}: ${NOT_WAITING}`]),
      ...(isThere
        ? [`somebody listens at ${newMonitorPath} already, where the new QEMU will once it has the memory`]
        : []),
    ];
  }

  /** An attempt before has got as far as QEMU does by itself. */
  get #hasPassed(): boolean {
    return this.#old.examined.machine.status === 'postmigrate';
  }

  /** From here on somebody else can undo it, or go on. What an attempt before has found is what is put back. */
  async #begin(view: UpgradeView): Promise<BegunUpgrade> {
    const { performer, clients } = this.#old;
    const { journals, monitorPath, scratch } = this.#options;
    const before: Before = this.#earlier?.plan ?? {
      settings: await performer.run(readSettings()),
      policies: view.policies,
    };
    const { settings, policies } = before;
    const where = scratch === undefined ? null : resolve(scratch);
    const plan: UpgradePlan = { ...this.#successor, settings, policies, ids: this.#ids, scratch: where };
    if (this.#earlier !== null && isSame(this.#earlier.plan, plan)) {
      this.#begun = this.#earlier;
      return this.#earlier;
    }
    const begun = await beginUpgrade(journals, vmName(monitorPath), clients, plan);
    this.#begun = begun;
    if (this.#earlier !== null) await abort(this.#earlier, `it goes on as ${begun.journal.group}`);
    return begun;
  }

  /** Where QEMU and a server do not agree QEMU is asked; it can't be when it was cut off. */
  async #views({ kept }: UpgradeView) {
    if (kept.every((each) => each === null))
      return this.#old.performer.run(compareViews(this.#ecam, this.#ids));
    return kept.map((each) => each ?? ('server' as const));
  }

  async #handOver(): Promise<void> {
    const { performer, timeoutMs } = this.#old;
    if (!this.#hasPassed) await performer.run(handOver(this.#ids, this.#successor.channels));
    const started = performance.now();
    this.#new = await this.#reachNew(started + timeoutMs);
    await this.#new.performer.run(awaitLoaded(timeoutMs));
    await performer.run(awaitCompleted(timeoutMs));
    this.#stopwatch.note('QEMU hands over', started);
  }

  /** Its monitor appears once it has the memory and its devices. */
  async #reachNew(deadline: number) {
    const { newMonitorPath, newGdbPath } = this.#successor;
    const { performer, clients, folder, timeoutMs } = this.#old;
    let monitor = await reachMonitor(newMonitorPath, timeoutMs);
    while (monitor === null) {
      await performer.run(requireNotFailed());
      if (performance.now() > deadline)
        throw new VmError('ERR_VM_TIMEOUT', `the new QEMU has made no monitor at ${newMonitorPath} in time`);
      await sleep(PERIOD_MS);
      monitor = await reachMonitor(newMonitorPath, timeoutMs);
    }
    const options = { monitor, gdbPath: newGdbPath, clients, folder: folder.path, timeoutMs };
    return { monitor, performer: new VmPerformer(options) };
  }

  /**
   * Both QEMUs have the same eventfds (hw/vfio/cpr.c), and the old one would go on taking interrupts from them: it ends before
   * anything runs.
   */
  async #finish(record: VmRecord, begun: BegunUpgrade): Promise<void> {
    const next = this.#requireNew();
    await this.#stopwatch.time('write registers', next.run(setUpUpgraded(record)));
    await this.#stopwatch.time('write COMMIT', commit(begun));
    await this.#stopwatch.time('end the old QEMU', this.#endOld());
    await this.#stopwatch.time('run', next.run(runUpgraded(begun.plan)));
  }

  /** The VM runs: what fails now is no reason to say that it does not. Returns what is worth knowing. */
  async #tidyUp(begun: BegunUpgrade): Promise<readonly string[]> {
    try {
      await this.#requireNew().run(restorePolicies(begun.plan.policies));
      await done(begun);
      return [];
    } catch (error) {
      return [
        `what becomes of the devices' states is not as it was before; ferry recover: ${messageOf(error)}`,
      ];
    }
  }

  #requireNew(): VmPerformer {
    if (this.#new === null) throw new TypeError('the new QEMU has not been reached');
    return this.#new.performer;
  }

  async #endOld(): Promise<void> {
    const { performer, monitor, timeoutMs } = this.#old;
    await performer.run(qmp('quit'));
    await monitor.ended(timeoutMs);
  }

  /** The VM runs where it was, unless the other QEMU has taken a device. Returns what is to be thrown. */
  async #undo(error: unknown, begun: BegunUpgrade): Promise<unknown> {
    const { clients, monitor, timeoutMs } = this.#old;
    for (const client of clients) client.close();
    try {
      const { is, lost } = await settle(begun, monitor, { patienceMs: 0, timeoutMs });
      if (is === 'back') await abort(begun, messageOf(error));
      if (lost.length === 0) return is === 'back' ? error : this.#stranded(error);
      return is === 'back' ? without(lost, error) : this.#stranded(error);
    } catch (cause) {
      return this.#stranded(cause);
    }
  }

  #stranded(error: unknown): VmError {
    const text = `the VM stands still: the new QEMU did not come to run it, and the old one can't go on: ${messageOf(error)}`;
    return new VmError('ERR_VM_STRANDED', text, { monitor: this.#options.monitorPath }, error);
  }

  #standstill(): number | null {
    const from = this.#old.performer.timeOf('STOP');
    const to = this.#new?.performer.timeOf('RESUME') ?? null;
    return from === null || to === null ? null : to - from;
  }
}

/** QEMU hands a VM over once (postmigrate; migrate_prepare() in migration/migration.c). */
function handedOver(path: string): VmError {
  const text = `the new QEMU of ${path} was given everything and has ended before it ran; the old one can't hand it over again`;
  return new VmError('ERR_VM_LOST', `${text}: the guest is lost`, { monitor: path });
}

function without(lost: readonly string[], error: unknown): VmError {
  const text = `the VM runs on in the old QEMU, without what was in ${lost.join(', ')}: a server has ended`;
  return new VmError('ERR_VM_LOST', `${text} (${messageOf(error)})`, { lost: lost.join(', ') }, error);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function isSame(one: Successor, other: Successor): boolean {
  const { channels, newMonitorPath, newGdbPath } = other;
  return (
    one.newMonitorPath === newMonitorPath &&
    one.newGdbPath === newGdbPath &&
    one.channels.main === channels.main &&
    one.channels.cpr === channels.cpr
  );
}

function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() === true;
}
