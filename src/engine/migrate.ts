import { randomBytes } from 'node:crypto';
import { memoryPair } from '../channel/index.ts';
import { combined, refusedAsSame } from './combined-error.ts';
import type { GuestMemorySource, GuestMemoryTarget } from './guest-memory/guest-memory.ts';
import type { MigrationEnd } from './migration-end.ts';
import { MigrationError } from './migration-error.ts';
import type { Verdict } from './preflight/preflight.ts';
import type { MigrationReport } from './report.ts';
import { runReceiver } from './run-receiver.ts';
import { runSender, type SendOptions } from './run-sender.ts';
import type { RunSideOptions } from './side-options.ts';
import { together } from './timeline.ts';

/** How to migrate within one process. Everything has a default. */
export interface MigrateOptions
  extends SendOptions,
    Omit<RunSideOptions, 'devices' | 'channel' | 'reconnect' | 'reconnectMs' | 'peer' | 'token'> {
  /** The command that ends a doubt; null, the default, when journals are not kept. */
  readonly recover?: string | null;
  /** Guest memory that moves too, on both sides. */
  readonly memory?: { readonly source: GuestMemorySource; readonly destination: GuestMemoryTarget };
}

const GROUP_SIZE = 16;

/**
 * Moves a device, or a group of them as one, from `source` to `destination`: both sides of the migration in this process.
 * Resolves when the destination runs and the source has stopped for good. Rejects with MigrationError, which says who
 * owns the devices and how to go on.
 */
export async function migrate(
  source: MigrationEnd | readonly MigrationEnd[],
  destination: MigrationEnd | readonly MigrationEnd[],
  options: MigrateOptions = {},
): Promise<MigrationReport> {
  const [from, to] = [groupOf(source), groupOf(destination)];
  const same = refusedAsSame(from, to);
  if (same !== null) throw same;
  const pair = memoryPair({ group: randomBytes(GROUP_SIZE).toString('hex'), epoch: 1n });
  const { onProgress, onEvent, memory, recover = null, ...common } = options;
  const names = { source: from.map(({ name }) => name), destination: to.map(({ name }) => name) };
  const [sent, received] = await Promise.allSettled([
    runSender({
      ...common,
      ...{ onProgress, onEvent, devices: from, channel: pair.sender },
      peer: { devices: names.destination, recover },
      ...(memory === undefined ? {} : { memory: memory.source }),
    }),
    runReceiver({
      ...common,
      ...{ onEvent, devices: to, channel: pair.receiver },
      peer: { devices: names.source, recover },
      ...(memory === undefined ? {} : { memory: memory.destination }),
    }),
  ]);
  if (sent.status === 'rejected') throw combined(sent.reason, received, names);
  const { timeline } = sent.value;
  return {
    ...sent.value,
    destination: names.destination.join(', '),
    timeline: received.status === 'fulfilled' ? together(timeline, received.value.timeline) : timeline,
  };
}

/**
 * Compares what is to move with what it is to move to, and changes nothing. What speaks against it is in the verdict;
 * rejects with MigrationError only when an end can't be asked.
 */
export async function preflight(
  source: MigrationEnd | readonly MigrationEnd[],
  destination: MigrationEnd | readonly MigrationEnd[],
  options: Omit<MigrateOptions, 'dryRun'> = {},
): Promise<Verdict> {
  try {
    return { reasons: [], notes: (await migrate(source, destination, { ...options, dryRun: true })).notes };
  } catch (error) {
    if (!(error instanceof MigrationError) || error.code !== 'ERR_MIGRATION_REFUSED') throw error;
    return { reasons: error.reason.message.split('; '), notes: [] };
  }
}

function groupOf(ends: MigrationEnd | readonly MigrationEnd[]): readonly MigrationEnd[] {
  return isEnd(ends) ? [ends] : ends;
}

function isEnd(ends: MigrationEnd | readonly MigrationEnd[]): ends is MigrationEnd {
  return !Array.isArray(ends);
}
