import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { DeviceClient } from '../../../src/client/index.ts';
import { MigrationState } from '../../../src/states/index.ts';

/** What round trips have shown. */
export interface TripReport {
  readonly trips: number;
  /** How long the device was held in each trip, in milliseconds. */
  readonly holds: readonly number[];
  /** Bytes of state in the last trip. */
  readonly stateBytes: number;
  /** How late this process came to what it had to do at most, in milliseconds: so much of a hold may be the host's. */
  readonly lateMs: number;
}

/** How round trips are made. */
export interface TripOptions {
  readonly trips: number;
  /** From the beginning of one to the beginning of the next, in milliseconds. */
  readonly everyMs: number;
  /**
   * Called before some: waits until the guest has got on by itself. What a trip has lost, such as an interrupt, the next
   * trip might bring back.
   */
  readonly settle?: () => Promise<void>;
  /** Called before and after each; for devices whose memory a guest has mapped, which only a stopped VM leaves alone. */
  readonly pause?: () => Promise<unknown>;
  readonly resume?: () => Promise<unknown>;
  /** Destroys what a reset of the device keeps, such as the contents of a disk: it has to come back with the state. */
  readonly destroy?: () => void;
}

/** A hold that lasts longer, in milliseconds, expires: what a guest does then is lost. */
export const LONGEST_HOLD = 4000;
/** {@link TripOptions.settle} is called before every so many trips. */
const SETTLED_EACH = 3;
/** Longer than any hold, in milliseconds, so that a slow answer shows as a long hold. */
const ANSWER_TIMEOUT = 20_000;
/** Bytes that one MIG_DATA_READ asks for. */
const CHUNK = 1024 * 1024;
/** Chunks that pre-copy takes at most: a guest that is fast always has more. */
const CHUNKS_BEFORE = 50;
const NOTHING = async (): Promise<void> => {};

/**
 * Takes the state of a served device, resets it, and gives the state back, again and again, through its control
 * socket; every other time it begins with pre-copy. Everything that is not in the state is lost on the way.
 */
export async function roundTrips(socketPath: string, options: TripOptions): Promise<TripReport> {
  const { trips, everyMs, settle = NOTHING, pause = NOTHING, resume = NOTHING, destroy = () => {} } = options;
  const client = await DeviceClient.connect(`${socketPath}.control`, { timeoutMs: ANSWER_TIMEOUT });
  const delay = monitorEventLoopDelay();
  delay.enable();
  const holds: number[] = [];
  let stateBytes = 0;
  try {
    for (let trip = 0; trip < trips; trip += 1) {
      const next = sleep(everyMs);
      if (trip % SETTLED_EACH === SETTLED_EACH - 1) await settle();
      await pause();
      const begun = trip % 2 === 0 ? [] : await preCopy(client);
      const since = performance.now();
      stateBytes = await roundTrip(client, begun, destroy);
      holds.push(performance.now() - since);
      await resume();
      await next;
    }
  } finally {
    client.close();
    delay.disable();
  }
  return { trips: holds.length, holds, stateBytes, lateMs: delay.max / 1e6 };
}

/** What the device gives of its state while it still runs; what the guest changes meanwhile has to follow. */
async function preCopy(client: DeviceClient): Promise<readonly Buffer[]> {
  await client.setMigrationState(MigrationState.PRE_COPY);
  return takeData(client, CHUNKS_BEFORE);
}

/** One trip; gives the size of the state in bytes, of which `begun` is there already. */
async function roundTrip(
  client: DeviceClient,
  begun: readonly Buffer[],
  destroy: () => void,
): Promise<number> {
  await client.setMigrationState(MigrationState.STOP_COPY);
  const state = Buffer.concat([...begun, ...(await takeData(client, Number.POSITIVE_INFINITY))]);
  await client.reset();
  destroy();
  await client.setMigrationState(MigrationState.RESUMING);
  await client.writeMigrationData(state);
  await client.setMigrationState(MigrationState.RUNNING);
  return state.length;
}

/** What there is at present, in at most so many chunks. */
async function takeData(client: DeviceClient, most: number): Promise<readonly Buffer[]> {
  const chunks: Buffer[] = [];
  const keep = (chunk: Uint8Array): void => void chunks.push(Buffer.from(chunk));
  while (chunks.length < most && (await client.readMigrationData(CHUNK, keep)) > 0);
  return chunks;
}

/** For people who read the output of the tests. */
export function describeTrips(what: string, { trips, holds, stateBytes, lateMs }: TripReport): string {
  const sorted = holds.toSorted((a, b) => a - b);
  const at = (share: number) => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(0);
  return `${what}: ${trips} round trips of ${stateBytes} bytes; held ${at(0)} to ${at(1)} ms, median ${at(0.5)} ms; the host was late by ${lateMs.toFixed(0)} ms at most`;
}
