import { setTimeout as sleep } from 'node:timers/promises';
import { type Channel, connectChannel } from '../../channel/index.ts';
import { DEFAULT_TIMEOUT_MS } from '../../client/index.ts';
import { absentEnd, deviceEnd, type MigrationEnd, type Recovery, recover } from '../../engine/index.ts';
import { Errno, FerryError } from '../../errors/index.ts';
import {
  type BeginRecord,
  JournalError,
  type JournalKey,
  type JournalReading,
  type JournalRole,
  type Journals,
  positionOf,
} from '../../journal/index.ts';
import { isVmName, openAbandoned, recoverUpgrade } from '../../vm/index.ts';
import { openDevice } from '../access/device-access.ts';
import { type ChannelOptions, wayOf } from '../options/channel-options.ts';
import { type ConfigurationOption, endOptionsOf } from '../options/configuration-option.ts';
import { recoverCommand } from '../options/journal-options.ts';
import { timeoutOf } from '../options/limit-options.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { forgetKept, keptBeside } from './kept-state.ts';

/** How one side is recovered. */
export interface SideOptions extends Partial<ChannelOptions>, ConfigurationOption {
  readonly peerJournal: JournalReading | null;
  readonly force: { readonly who: string; readonly why: string } | null;
  readonly to?: string;
  readonly journal?: string;
  readonly timeout?: number;
}

/** What became of one side. */
export interface SideRecovery {
  readonly role: JournalRole;
  /** A VM that was to pass to another QEMU of this host (ferry vm upgrade): the source is the old one. */
  readonly upgrade: boolean;
  readonly devices: readonly string[];
  /** Null: the process that began it is still at work. */
  readonly recovery: Recovery | null;
}

/** Recovers the side whose journal this is: with its devices, and the receiver if it can be reached. */
export async function recoverSide(
  journals: Journals,
  key: JournalKey,
  options: SideOptions,
): Promise<SideRecovery> {
  const { entries } = await journals.read(key);
  const begin = entries[0]?.record;
  const paths = begin?.kind === 'BEGIN' ? begin.devices.map(({ path }) => path) : [];
  const upgrade = begin?.kind === 'BEGIN' && begin.plan !== undefined;
  const common = { role: key.role, upgrade, devices: paths };
  const clients: { close(): void }[] = [];
  const kept = key.role === 'receiver' ? await keptBeside(journals, key.group) : null;
  try {
    if (upgrade) return { ...common, recovery: await recoveryOfUpgrade(journals, key, options) };
    const devices = await Promise.all(paths.map((path) => endAt(path, key.role, clients, options)));
    const committed = positionOf(key.role, entries) === 'COMMIT';
    const channel = begin?.kind === 'BEGIN' && committed ? await receiverOf(begin, options) : null;
    const { peerJournal, force } = options;
    const peer = { devices: null, recover: null };
    const recovery = await recover({
      ...{ ...key, journals, devices, channel, peerJournal, force, peer, kept },
      ...timeoutOf(options),
    });
    const { owner, acted, complete, lost } = recovery;
    if (owner !== 'in doubt' && complete && lost.length === 0 && kept !== null)
      await forgetKept(journals, key.group);
    const stays = owner === 'source' && acted && complete;
    if (begin?.kind === 'BEGIN' && key.role === 'sender' && stays)
      await sayAborted(await receiverOf(begin, options), begin);
    return { ...common, recovery };
  } catch (error) {
    if (!(error instanceof JournalError) || error.code !== 'ERR_JOURNAL_BUSY') throw error;
    return { ...common, recovery: null };
  } finally {
    await kept?.close();
    for (const client of clients) client.close();
  }
}

/** Everything that can be known of it can be seen on this host: nobody need decide. */
function recoveryOfUpgrade(
  journals: Journals,
  { group }: JournalKey,
  { force, timeout = DEFAULT_TIMEOUT_MS, journal }: SideOptions,
): Promise<Recovery> {
  if (force !== null) throw new UsageError('of an upgrade there is no doubt that a person could decide');
  return recoverUpgrade({ journals, group, timeoutMs: timeout, recover: recoverCommand(group, journal) });
}

/** A device whose server has ended does not keep the others from being recovered, and neither does a VM. */
async function endAt(
  path: string,
  role: JournalRole,
  clients: { close(): void }[],
  options: SideOptions,
): Promise<MigrationEnd> {
  try {
    if (isVmName(path)) {
      const vm = await openAbandoned(path, role, options.timeout ?? DEFAULT_TIMEOUT_MS);
      clients.push(vm);
      return vm.end;
    }
    const client = await openDevice(path, options.timeout);
    clients.push(client);
    return await deviceEnd(client, null, endOptionsOf(options));
  } catch (error) {
    if (!(error instanceof FerryError)) throw error;
    return hasEnded(error) ? endedDevice(path, error) : absentEnd(path, error);
  }
}

/** Nobody listens on its socket: a server that only hangs still does. */
function hasEnded({ code, errno }: FerryError): boolean {
  return code === 'ERR_SOCKET' && (errno === Errno.ECONNREFUSED || errno === Errno.ENOENT);
}

/** What is there now, nothing, is not the device that the journal speaks of. */
function endedDevice(path: string, why: FerryError): MigrationEnd {
  const inspection = { identity: null, busy: null, instance: NOBODY };
  return { ...absentEnd(path, why), inspect: () => Promise.resolve(inspection) };
}

/** No server has this number. */
const NOBODY = -1n;

/** How long a receiver that may not be there any more is waited for, in milliseconds. */
const PATIENCE_MS = 5_000;

/** A channel to the receiver, which may still wait for the outcome; null when there is none. */
async function receiverOf(begin: BeginRecord, options: SideOptions): Promise<Channel | null> {
  if (begin.role !== 'sender') return null;
  const { group, epoch } = begin;
  try {
    const { endpoint, tls } = await wayOf(options.to ?? begin.peer, options);
    return await connectChannel(endpoint, {
      ...{ role: 'sender', group, epoch, handshakeMs: PATIENCE_MS },
      ...(tls === undefined ? {} : { tls }),
    });
  } catch (error) {
    // An address that was typed has to be right; one from the journal may be of a process that has ended.
    if (options.to !== undefined || !(error instanceof FerryError)) throw error;
    return null;
  }
}

/** The source keeps the devices, durably: a receiver that still waits for the outcome may give up what it has. */
async function sayAborted(channel: Channel | null, { group, epoch }: BeginRecord): Promise<void> {
  if (channel === null) return;
  const heard = new Promise<void>((resolve) => {
    channel.receive(({ kind }) => {
      if (kind === 'ABORTED') resolve();
    });
  });
  const reason = {
    code: 'ERR_STEP_CANCELLED',
    text: 'the source has been recovered, and keeps it',
    errno: null,
  };
  const timer = new AbortController();
  const late = sleep(PATIENCE_MS, undefined, { signal: timer.signal }).catch(() => {});
  void channel.send({ kind: 'ABORT', group, epoch, reason });
  await Promise.race([heard, channel.closed, late]);
  timer.abort();
  channel.abort('it has been said');
}
