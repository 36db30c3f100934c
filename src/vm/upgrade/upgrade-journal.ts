import { randomBytes } from 'node:crypto';
import type { DeviceClient } from '../../client/index.ts';
import {
  type Journal,
  type JournalDevice,
  type Journals,
  type KeptJournal,
  type Position,
  positionOf,
} from '../../journal/index.ts';
import { VmError } from '../vm-error.ts';
import { decodePlan, encodePlan, type UpgradePlan } from './plan.ts';

/** An upgrade of which something has been written down. */
export interface BegunUpgrade {
  readonly journal: Journal;
  /** What the journal calls the VM. */
  readonly vm: string;
  /** Its devices, in their order. */
  readonly devices: readonly JournalDevice[];
  readonly plan: UpgradePlan;
}

const GROUP_SIZE = 16;
/** It claims nothing: its devices stay where they are. */
const NO_TOKEN = '0'.repeat(32);
const EPOCH = 1n;

/** Writes down what is about to be done. Nothing has been changed yet. */
export async function beginUpgrade(
  journals: Journals,
  vm: string,
  clients: readonly DeviceClient[],
  plan: UpgradePlan,
): Promise<BegunUpgrade> {
  const devices = await Promise.all(
    clients.map(async (client) => ({
      path: client.path,
      instance: (await client.claimStatus())?.instance ?? 0n,
    })),
  );
  const journal = await journals.begin({
    ...({ kind: 'BEGIN', role: 'sender', epoch: EPOCH, token: NO_TOKEN } as const),
    group: randomBytes(GROUP_SIZE).toString('hex'),
    devices: [{ path: vm, instance: 0n }, ...devices],
    ...{ peer: plan.newMonitorPath, plan: encodePlan(plan) },
  });
  return { journal, vm, devices, plan };
}

/** What an open journal tells of an upgrade; null: it is of a migration. @throws VmError ERR_VM_RECORD */
export function begunUpgrade(journal: Journal): BegunUpgrade | null {
  const begin = journal.entries[0]?.record;
  if (begin?.kind !== 'BEGIN' || begin.plan === undefined) return null;
  const [vm, ...devices] = begin.devices;
  const plan = decodePlan(begin.plan);
  if (vm === undefined || devices.length !== plan.policies.length)
    throw new VmError('ERR_VM_RECORD', 'the journal of an upgrade does not name its VM and its devices');
  return { journal, vm: vm.path, devices, plan };
}

/** The upgrade of a VM that was begun last and has not ended; null: there is none. Rejects with JournalError. */
export async function unfinishedUpgrade(journals: Journals, vm: string): Promise<BegunUpgrade | null> {
  const open = (await journals.find(vm)).filter(isUnfinished);
  const last = open.toSorted((a, b) => begunAt(b) - begunAt(a))[0];
  return last === undefined ? null : begunUpgrade(await journals.open(last));
}

function isUnfinished({ reading }: KeptJournal): boolean {
  const begin = reading?.entries[0]?.record;
  if (begin?.kind !== 'BEGIN' || begin.plan === undefined) return false;
  return ['BEGIN', 'COMMIT'].includes(positionOf('sender', reading?.entries ?? []));
}

function begunAt({ reading }: KeptJournal): number {
  return reading?.entries[0]?.atMs ?? 0;
}

/** How far it has got. */
export function positionIn({ journal }: BegunUpgrade): Position {
  return positionOf('sender', journal.entries);
}

/** The new QEMU has everything; from here on only it goes on. */
export function commit({ journal }: BegunUpgrade): Promise<void> {
  return journal.append({ kind: 'COMMIT', epoch: EPOCH });
}

/** Nothing is left to do. */
export function done({ journal }: BegunUpgrade): Promise<void> {
  return journal.append({ kind: 'DONE', epoch: EPOCH });
}

/** It is over, and the new QEMU has not got the VM by it. */
export function abort({ journal }: BegunUpgrade, reason: string): Promise<void> {
  return journal.append({ kind: 'ABORT', epoch: EPOCH, reason: reason.slice(0, MAX_REASON) });
}

/** In UTF-16 units: not more than the 4096 bytes that a record takes. */
const MAX_REASON = 1024;
