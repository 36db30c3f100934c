import type { Recovery } from '../../engine/index.ts';
import { FerryError } from '../../errors/index.ts';
import type { Journal, Journals } from '../../journal/index.ts';
import { MigrationState } from '../../states/index.ts';
import { runState } from '../machine/machine.ts';
import { VmPerformer } from '../performer.ts';
import type { QmpClient } from '../qmp/qmp-client.ts';
import { qmp, type VmSequence } from '../step.ts';
import { VmError } from '../vm-error.ts';
import { reachMonitor } from './reach-vmm.ts';
import { restorePolicies, runUpgraded } from './sequences.ts';
import { reachServers, settle } from './settle.ts';
import { passOn } from './upgrade.ts';
import { abort, type BegunUpgrade, begunUpgrade, done, positionIn } from './upgrade-journal.ts';

/** What an upgrade is recovered with. */
export interface RecoverUpgradeOptions {
  readonly journals: Journals;
  readonly group: string;
  /** How long each answer may take, in milliseconds. */
  readonly timeoutMs: number;
  /** The command that does this again, as it is typed. */
  readonly recover: string;
}

/** What was found and done; the states of devices are looked up when all is over. */
type Finding = Omit<Recovery, 'states'>;

const { RUNNING, STOP } = MigrationState;
const PREFIX = 'qmp:'.length;

/**
 * Finishes what an upgrade has left behind: the VM runs in the old QEMU, or, if a new one has taken a device, in that or in
 * another one that waits in its place. Resolves with who has it: `source` is the old QEMU, `destination` the new one. Rejects
 * with JournalError, such as ERR_JOURNAL_BUSY as long as the process that began it has not ended, or with VmError when
 * somebody does not answer: then nothing was changed.
 */
export async function recoverUpgrade(options: RecoverUpgradeOptions): Promise<Recovery> {
  const journal = await options.journals.open({ group: options.group, role: 'sender' });
  try {
    return await recoverFrom(journal, options);
  } finally {
    await journal.close();
  }
}

async function recoverFrom(journal: Journal, options: RecoverUpgradeOptions): Promise<Recovery> {
  const begun = begunUpgrade(journal);
  if (begun === null) throw new VmError('ERR_VM_RECORD', 'the journal is not one of an upgrade');
  const finding = await findingOf(begun, options);
  return { ...finding, states: await statesOf(begun, finding, options.timeoutMs) };
}

async function findingOf(begun: BegunUpgrade, options: RecoverUpgradeOptions): Promise<Finding> {
  const position = positionIn(begun);
  if (position === 'ABORT') return finding('source', `It has ended: ${reasonOf(begun)}`);
  if (position === 'DONE') return finding('destination', 'It has ended: the new QEMU was given the VM.');
  const old = await reachMonitor(begun.vm.slice(PREFIX), options.timeoutMs);
  try {
    if (position === 'COMMIT') return await finish(begun, old, options.timeoutMs);
    if (old === null)
      return await giveUp(begun, 'The old QEMU has ended before the new one had everything', options);
    const { timeoutMs } = options;
    const { is, lost } = await settle(begun, old, { patienceMs: timeoutMs, timeoutMs });
    if (is === 'back') return await wentBack(begun, lost);
    if (lost.length > 0)
      return await giveUp(begun, `${lost.join(', ')} has ended after the new QEMU had taken it`, options);
  } finally {
    old?.close();
  }
  return goOn(begun, options);
}

/** Neither COMMIT nor a way back: another attempt, with whatever QEMU waits in the place of the new one. */
async function goOn(begun: BegunUpgrade, options: RecoverUpgradeOptions): Promise<Finding> {
  try {
    await passOn(optionsFrom(begun, options), begun);
    return { ...finding('destination', IN_NEW), acted: true };
  } catch (error) {
    if (!(error instanceof FerryError)) throw error;
    if (error.code === 'ERR_VM_LOST') return giveUp(begun, 'The new QEMU has ended with everything', options);
    return { ...stuck(begun, error.message, options.recover), acted: true, complete: false };
  }
}

const IN_NEW = 'The VM runs in the new QEMU; the old one has ended.';

function optionsFrom({ plan, vm, devices }: BegunUpgrade, { journals, timeoutMs }: RecoverUpgradeOptions) {
  const { channels, newMonitorPath, newGdbPath, ids, scratch } = plan;
  return {
    ...{ channels, newMonitorPath, newGdbPath, journals, timeoutMs },
    ...(scratch === null ? {} : { scratch }),
    monitorPath: vm.slice(PREFIX),
    devices: devices.map(({ path }, i) => ({ id: ids[i] ?? null, path })),
  };
}

function stuck(begun: BegunUpgrade, why: string, recover: string): Finding {
  const { main, cpr } = begun.plan.channels;
  if (positionIn(begun) === 'COMMIT') {
    const text = `The new QEMU has the VM, which does not run there yet: ${why}`;
    return { ...finding('destination', text), nextSteps: [recover] };
  }
  const text = `The VM stands still in the old QEMU, and its devices wait: ${why}`;
  const start = `start a new QEMU that waits at ${main} and ${cpr}, in the place of the one before`;
  return { ...finding('source', text), nextSteps: [start, recover] };
}

async function wentBack(begun: BegunUpgrade, lost: readonly string[]): Promise<Finding> {
  await abort(begun, 'it was interrupted, and the VM has gone on in the old QEMU');
  const text = 'The VM runs in the old QEMU.';
  if (lost.length === 0) return { ...finding('source', text), acted: true };
  return {
    ...finding('source', `${text} What was in ${lost.join(', ')} is lost: the server has ended.`),
    ...{ acted: true, lost },
    nextSteps: [ANEW],
  };
}

const ANEW = 'end its QEMUs, start servers that have ended again, and start the guest anew';

/** The new QEMU has everything: the old one ends, and the new one runs it. */
async function finish(begun: BegunUpgrade, old: QmpClient | null, timeoutMs: number): Promise<Finding> {
  const monitor = await reachMonitor(begun.plan.newMonitorPath, timeoutMs);
  if (monitor === null) {
    await resetAll(begun, timeoutMs);
    await done(begun);
    return { ...finding('destination', `The new QEMU has ended: ${GUEST_LOST}`), ...lostWith(begun) };
  }
  const { clients, policies, lost, close } = await reachServers(begun, timeoutMs);
  try {
    if (old !== null) await end(old, timeoutMs);
    const next = new VmPerformer({ monitor, gdbPath: null, clients, folder: '', timeoutMs });
    await next.run(runUpgraded({ policies }));
    await next.run(restorePolicies(policies));
  } finally {
    close();
    monitor.close();
  }
  await done(begun);
  const loss = lost.length === 0 ? '' : ` What was in ${lost.join(', ')} is lost: the server has ended.`;
  const nextSteps = lost.length === 0 ? [] : [ANEW];
  return { ...finding('destination', `${IN_NEW}${loss}`), acted: true, lost, nextSteps };
}

const GUEST_LOST = 'the guest is lost.';

/** One that has given its VM away. Another one may have come to its place since. */
async function end(monitor: QmpClient, timeoutMs: number): Promise<void> {
  const performer = new VmPerformer({ monitor, gdbPath: null, clients: [], folder: '', timeoutMs });
  if ((await performer.run(runState())) !== 'postmigrate') return;
  await performer.run(quit());
  await monitor.ended(timeoutMs);
}

function* quit(): VmSequence<void> {
  yield* qmp('quit');
}

/** There is nothing that could go on. */
async function giveUp(
  begun: BegunUpgrade,
  why: string,
  { timeoutMs }: RecoverUpgradeOptions,
): Promise<Finding> {
  await resetAll(begun, timeoutMs);
  await abort(begun, `${why}: ${GUEST_LOST}`);
  return { ...finding('source', `${why}: ${GUEST_LOST}`), ...lostWith(begun) };
}

/**
 * No VMM comes for the states any more: what becomes of them is what it was, and most are reset. A device that was stopped
 * for the upgrade is held until it is told to run.
 */
async function resetAll(begun: BegunUpgrade, timeoutMs: number): Promise<void> {
  const { clients, policies, close } = await reachServers(begun, timeoutMs);
  try {
    for (const [i, client] of clients.entries()) {
      await client.reconnection(policies[i] ?? 'reset');
      if (policies[i] === 'reset') await client.setMigrationState(RUNNING);
    }
  } finally {
    close();
  }
}

function lostWith({ vm }: BegunUpgrade): Pick<Finding, 'acted' | 'lost' | 'nextSteps'> {
  return { acted: true, lost: [vm], nextSteps: [ANEW] };
}

function finding(owner: Finding['owner'], outcome: string): Finding {
  return { owner, outcome, acted: false, complete: true, lost: [], nextSteps: [] };
}

function reasonOf({ journal }: BegunUpgrade): string {
  const last = journal.entries.at(-1)?.record;
  return last?.kind === 'ABORT' ? last.reason : 'it was given up';
}

/** The VM's first, in the QEMU that has it; null for one that does not answer. */
async function statesOf(
  { vm, devices, plan }: BegunUpgrade,
  { owner }: Finding,
  timeoutMs: number,
): Promise<Recovery['states']> {
  const path = owner === 'destination' ? plan.newMonitorPath : vm.slice(PREFIX);
  const own = vmState(path, timeoutMs).catch(() => null);
  const theirs = devices.map((device) =>
    deviceState({ devices: [device], plan }, timeoutMs).catch(() => null),
  );
  return Promise.all([own, ...theirs]);
}

async function vmState(path: string, timeoutMs: number): Promise<number | null> {
  const monitor = await reachMonitor(path, timeoutMs);
  if (monitor === null) return null;
  try {
    const performer = new VmPerformer({ monitor, gdbPath: null, clients: [], folder: '', timeoutMs });
    return (await performer.run(runState())) === 'running' ? RUNNING : STOP;
  } finally {
    monitor.close();
  }
}

async function deviceState(
  one: Pick<BegunUpgrade, 'devices' | 'plan'>,
  timeoutMs: number,
): Promise<number | null> {
  const { clients, close } = await reachServers(one, timeoutMs);
  try {
    return (await clients[0]?.migrationState()) ?? null;
  } finally {
    close();
  }
}
