import { expect, vi } from 'vitest';
import type { Disk, Requests } from './disks.ts';
import type { Guest } from './harness/guest.ts';
import { Load } from './harness/load.ts';
import { QueueWatch } from './harness/queue-watch.ts';

/** Bytes that each worker of the program has to itself. */
const BYTES = 4 * 2 ** 20;
/** Linux gives up on a request after 30 s; one whose interrupt was lost takes as long. */
const LONGEST_MS = 15_000;

/** Requests that show that a guest gets on. */
const FURTHER = 10;

/** Random direct I/O in a guest that checks each block it reads; see programs/disk.c. */
export class VerifiedLoad {
  readonly #guest: Guest;
  readonly #disk: Disk;
  readonly #load: Load;
  readonly #watch: QueueWatch;
  readonly #before: readonly [Requests, Requests];

  private constructor(guest: Guest, disk: Disk, load: Load, before: readonly [Requests, Requests]) {
    this.#guest = guest;
    this.#disk = disk;
    this.#load = load;
    this.#before = before;
    this.#watch = new QueueWatch(disk.device);
  }

  /** Begins with so many requests at a time. */
  static async start(guest: Guest, disk: Disk, workers: number): Promise<VerifiedLoad> {
    const name = await disk.nameIn(guest);
    const before = [await disk.requestsIn(guest), disk.requests] as const;
    const load = await Load.start(guest, `disk /dev/${name} $end ${workers} ${BYTES}`);
    return new VerifiedLoad(guest, disk, load, before);
  }

  /** Waits until more requests have been carried out, most of which had to wait for the end of others. */
  async settle(): Promise<void> {
    const done = ({ reads, writes }: Requests): number => reads + writes;
    const enough = done(this.#disk.requests) + FURTHER;
    await vi.waitUntil(() => done(this.#disk.requests) >= enough, { timeout: LONGEST_MS, interval: 10 });
  }

  /**
   * Ends, and expects that everything was found as it was written, that the guest has seen as many requests end as the
   * device has carried out, and that no queue with entries was left without an interrupt. Tells what was done.
   * `interrupted`: the controller was reset meanwhile, and Linux has repeated what was cut off.
   */
  async end({ interrupted = false } = {}): Promise<string> {
    await this.#load.end().finally(() => this.#watch.end());
    const [reads = 0, writes = 0, flushes = 0, longest = 0] = (await this.#load.output())
      .split(' ')
      .map(Number);
    expect(reads).toBeGreaterThan(0);
    expect(longest).toBeLessThan(LONGEST_MS);
    expect(this.#watch.longestMs).toBeLessThan(LONGEST_MS);
    if (!interrupted) await this.#expectEachOnce(flushes);
    const waited = this.#watch.longestMs.toFixed(0);
    return `${this.#disk.storage}: ${reads} reads, ${writes} writes and ${flushes} flushes verified, longest ${longest} ms; entries waited ${waited} ms at most`;
  }

  async #expectEachOnce(flushes: number): Promise<void> {
    const [inGuest, inDevice] = this.#before;
    const seen = difference(await this.#disk.requestsIn(this.#guest), inGuest);
    // Linux counts a flush among its writes as well, where there is a cache.
    if (this.#disk.cached) seen.writes -= flushes;
    expect(difference(this.#disk.requests, inDevice), 'as the guest counts').toEqual(seen);
  }
}

function difference(after: Requests, before: Requests): { reads: number; writes: number } {
  return { reads: after.reads - before.reads, writes: after.writes - before.writes };
}
