import { randomBytes } from 'node:crypto';
import type { Channel } from '../channel/index.ts';
import { Journals, MemoryJournalFiles } from '../journal/index.ts';
import { type Clock, systemClock } from './clock.ts';
import type { MigrationEnd } from './migration-end.ts';
import type { PeerNames, SidePlan } from './plan.ts';
import { type Listeners, Recorder } from './recorder.ts';
import type { MigrationHooks, SideOptions } from './side-performer.ts';
import type { EndName } from './step.ts';

/** What either side of a migration is run with. What is optional has a default. */
export interface RunSideOptions extends Listeners {
  /** The devices of this side, in the same order on both sides. */
  readonly devices: readonly MigrationEnd[];
  /** To the other side. It is closed at the end. Its group and epoch name the migration. */
  readonly channel: Channel;
  /** Where decisions are kept. Default: in memory, which ends with the process. */
  readonly journals?: Journals;
  readonly hooks?: MigrationHooks;
  /** How long each request to a device may take, in milliseconds. Default 5000. */
  readonly timeoutMs?: number;
  /** How long each hook may take, in milliseconds. Default 5000. */
  readonly hookTimeoutMs?: number;
  /** How long the other side may take to answer while it can be heard, in milliseconds. Default 30000. */
  readonly answerTimeoutMs?: number;
  /** Chunks on the way at most, for each device. Default 4. */
  readonly window?: number;
  /**
   * Makes another channel of the same migration when the way is lost: a sender connects, a receiver waits to be
   * connected to. Without it, a lost way is the end.
   */
  readonly reconnect?: (signal: AbortSignal) => Promise<Channel>;
  /** How long that is tried, in milliseconds. Default 30000. */
  readonly reconnectMs?: number;
  /** What next steps tell people of the other side. */
  readonly peer?: PeerNames;
  /** The secret with which devices are claimed, 16 bytes. Default: random. */
  readonly token?: Uint8Array;
  /** The time; for tests. */
  readonly clock?: Clock;
}

const DEFAULT_TIMEOUT_MS = 5_000;
const DEFAULT_PATIENCE_MS = 30_000;
/** Enough that both ends and the controller always have work; bounds the memory of all three. */
export const DEFAULT_WINDOW = 4;
/** Bytes of a claim's token. */
const TOKEN_SIZE = 16;

/** The options of a side with their defaults, and its recorder. */
export function sideOptions(end: EndName, options: RunSideOptions, plan: SidePlan): SideOptions {
  const clock = options.clock ?? systemClock;
  const { devices, channel } = options;
  return {
    ...{ clock, end, plan, devices, channel },
    journals: options.journals ?? new Journals(new MemoryJournalFiles()),
    token: options.token ?? randomBytes(TOKEN_SIZE),
    hooks: options.hooks ?? {},
    timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    hookTimeoutMs: options.hookTimeoutMs ?? DEFAULT_TIMEOUT_MS,
    answerTimeoutMs: options.answerTimeoutMs ?? DEFAULT_PATIENCE_MS,
    reconnectMs: options.reconnectMs ?? DEFAULT_PATIENCE_MS,
    reconnect: options.reconnect ?? null,
    recorder: new Recorder(clock, end, options),
    journal: null,
    forced: null,
  };
}

/** What a side's sequence is told of it. */
export function sidePlan(options: RunSideOptions, memory: readonly number[]): SidePlan {
  const { devices, channel } = options;
  return {
    group: channel.peer.group,
    epoch: channel.peer.epoch,
    names: devices.map(({ name }) => name),
    claims: devices.map(({ claim }) => claim !== undefined),
    memory,
    peer: options.peer ?? { devices: null, recover: null },
  };
}
