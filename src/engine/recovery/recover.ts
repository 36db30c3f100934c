import { type Channel, memoryPair, type Source } from '../../channel/index.ts';
import {
  type BeginRecord,
  type Journal,
  JournalError,
  type JournalReading,
  type JournalRole,
  type Journals,
} from '../../journal/index.ts';
import { MigrationControl } from '../control.ts';
import { DEFAULT_LIMITS } from '../limits.ts';
import type { MigrationEnd } from '../migration-end.ts';
import { ReceiverPerformer } from '../receiver/receiver-performer.ts';
import { SenderPerformer } from '../sender/sender-performer.ts';
import { DEFAULT_WINDOW, type RunSideOptions, sideOptions } from '../side-options.ts';
import type { SidePerformer } from '../side-performer.ts';
import { conduct } from '../step.ts';
import { type Recovery, type RecoveryPlan, recovery } from './recovery.ts';

/** What a recovery is run with. */
export interface RecoverOptions
  extends Omit<RunSideOptions, 'devices' | 'channel' | 'journals' | 'token' | 'reconnect'> {
  /** Which migration: 32 hex digits. */
  readonly group: string;
  /** Which side of it is to be recovered. */
  readonly role: JournalRole;
  readonly journals: Journals;
  /** The devices of this side, in the order of the journal; {@link absentEnd} for one that can't be reached. */
  readonly devices: readonly MigrationEnd[];
  /** What the other side's journal holds; null or absent when it can't be read. */
  readonly peerJournal?: JournalReading | null;
  /** Sender: to a receiver that still waits for the outcome; null or absent when there is none. */
  readonly channel?: Channel | null;
  /** Receiver: what was kept of what it received; null or absent when nothing was. */
  readonly kept?: Source | null;
  /** Who decides for this side although the other one can't be asked, because it is known to be fenced. */
  readonly force?: { readonly who: string; readonly why: string } | null;
}

/**
 * Finishes what one side of a migration has left behind, from what its journal says, and the other side's if it is
 * given. Resolves with who owns the devices: `in doubt` when that can't be told, and then nothing was changed. Rejects
 * with JournalError, such as ERR_JOURNAL_BUSY as long as the process that began it has not ended.
 */
export async function recover(options: RecoverOptions): Promise<Recovery> {
  const { group, role, journals } = options;
  const journal = await journals.open({ group, role });
  try {
    const begin = journal.entries[0]?.record;
    if (begin?.kind !== 'BEGIN') return NOTHING;
    if (begin.devices.length !== options.devices.length) throw otherDevices(begin, options.devices.length);
    return await recoverFrom(journal, begin, options);
  } finally {
    await journal.close();
  }
}

const NOTHING: Recovery = {
  owner: 'source',
  acted: false,
  complete: true,
  lost: [],
  states: [],
  outcome: 'Nothing was begun',
  nextSteps: [],
};

async function recoverFrom(journal: Journal, begin: BeginRecord, options: RecoverOptions): Promise<Recovery> {
  const plan = await planFor(journal, begin, options);
  const performer = performerFor(journal, begin, plan, options);
  try {
    return await conduct(recovery(plan), (step) => performer.perform(step));
  } finally {
    await performer.close();
  }
}

async function planFor(journal: Journal, begin: BeginRecord, options: RecoverOptions): Promise<RecoveryPlan> {
  const { devices, peerJournal = null, channel = null, force = null } = options;
  const [own, peer] = [journal.entries, peerJournal?.entries ?? null];
  return {
    role: begin.role,
    journals: begin.role === 'sender' ? { sender: own, receiver: peer } : { sender: peer, receiver: own },
    group: begin.group,
    epoch: (journal.entries.at(-1)?.record.epoch ?? begin.epoch) + 1n,
    begunEpoch: begin.epoch,
    names: devices.map(({ name }) => name),
    claims: devices.map(({ claim }) => claim !== undefined),
    memory: [],
    peer: options.peer ?? { devices: null, recover: null },
    connected: channel !== null,
    force: force !== null,
    replaced: await Promise.all(
      devices.map((device, i) => isReplaced(device, begin.devices[i]?.instance ?? 0n)),
    ),
    paused: devices.map((_, i) => begin.devices[i]?.paused === true),
    actions: recalled(journal, devices),
  };
}

/** Ends go on from where the process that set them up has left them. What is still to be done, for each device. */
function recalled(journal: Journal, devices: readonly MigrationEnd[]): readonly number[] {
  const ready = journal.entries.map(({ record }) => record).findLast(({ kind }) => kind === 'READY');
  const withheld = ready?.kind === 'READY' ? (ready.withheld ?? []) : [];
  for (const { device, actions, configuration } of withheld)
    devices[device]?.recallConfiguration?.(configuration, actions);
  return devices.map((_, i) => withheld.find(({ device }) => device === i)?.actions ?? 0);
}

/** Another server listens in the place of the one that held the device. One that can't be asked may still be it. */
async function isReplaced(device: MigrationEnd, instance: bigint): Promise<boolean> {
  // A server that does not say may refuse to tell anything about itself now: libvfio-user does in STOP and STOP_COPY.
  if (instance === 0n) return false;
  try {
    const found = (await device.inspect()).instance ?? 0n;
    return found !== 0n && found !== instance;
  } catch {
    return false;
  }
}

function performerFor(
  journal: Journal,
  begin: BeginRecord,
  plan: RecoveryPlan,
  options: RecoverOptions,
): SidePerformer {
  const channel = options.channel ?? nobody(begin);
  const token = Buffer.from(begin.token, 'hex');
  const end = begin.role === 'sender' ? 'source' : 'destination';
  const side = {
    ...sideOptions(end, { ...options, channel, token }, plan),
    ...{ journal, forced: options.force ?? null },
  };
  if (end === 'destination')
    return new ReceiverPerformer({
      ...side,
      window: DEFAULT_WINDOW,
      memory: null,
      keep: null,
      kept: options.kept ?? null,
    });
  const control = new MigrationControl();
  return new SenderPerformer({
    ...side,
    ...{
      control,
      signal: undefined,
      limits: DEFAULT_LIMITS,
      chunkBytes: 0,
      window: DEFAULT_WINDOW,
      memory: null,
    },
  });
}

/** A channel that has ended: there is nobody to talk to. */
function nobody({ group, epoch, role }: BeginRecord): Channel {
  const pair = memoryPair({ group, epoch });
  pair.cut();
  return role === 'sender' ? pair.sender : pair.receiver;
}

function otherDevices(begin: BeginRecord, given: number): JournalError {
  const message = `the journal is of ${begin.devices.length} devices, and ${given} were given`;
  return new JournalError('ERR_JOURNAL_RECORD', message, { devices: begin.devices.length, given });
}
