import { messageOf } from '../step-error.ts';
import { DirtyPages } from './dirty-pages.ts';
import type { DirtyTracker } from './dirty-tracker.ts';
import type { GuestMemorySink, GuestMemorySource } from './guest-memory.ts';
import { GuestMemoryError } from './guest-memory-error.ts';
import { type MemoryRegion, requireRegions } from './memory-region.ts';
import { PageCopier } from './page-copier.ts';

/** What a writer could not tell. */
interface Failure {
  readonly name: string;
  readonly why: string;
  times: number;
}

/**
 * Guest memory that lies in this process, in memfds that the devices map too. It is copied while it is written: what
 * its writers report is sent again. A writer that can't report is believed to have written everything.
 *
 * Takes a bit for each page, and nothing else, however large the memory is.
 */
export class MappedMemorySource implements GuestMemorySource {
  readonly regions: readonly number[];
  readonly #memory: readonly MemoryRegion[];
  readonly #writers: readonly DirtyTracker[];
  readonly #dirty: DirtyPages;
  readonly #copier: PageCopier;
  readonly #failures = new Map<DirtyTracker, Failure>();
  #watching = false;

  /**
   * `writers` are all who write to the memory: each device with a tracker of its own, and the VMM.
   * @throws GuestMemoryError ERR_GUEST_MEMORY_REGIONS
   */
  constructor(memory: readonly MemoryRegion[], writers: readonly DirtyTracker[]) {
    requireRegions(memory);
    this.regions = memory.map(({ bytes }) => bytes.length);
    this.#memory = memory;
    this.#writers = writers;
    this.#dirty = new DirtyPages(memory);
    this.#copier = new PageCopier(memory, this.#dirty.bitmaps);
  }

  /** What went wrong with the watching since {@link start}, in sentences. */
  get notes(): readonly string[] {
    return [...this.#failures.values()].map(({ name, why, times }) => {
      const often = times === 1 ? 'once' : `${times} times`;
      return `${name} could not tell what it had written (${why}): all guest memory was sent again, ${often}`;
    });
  }

  /** @throws GuestMemoryError ERR_GUEST_MEMORY_TRACKING when a writer can't be watched; then nobody is. */
  async start(): Promise<void> {
    if (this.#watching) await this.stop();
    this.#failures.clear();
    this.#watching = true;
    for (const writer of this.#writers) {
      try {
        await writer.start(this.#memory);
      } catch (error) {
        await this.stop();
        throw untracked(writer, error);
      }
    }
    // Only now: what was written before somebody was watched is among it.
    this.#dirty.all();
  }

  async rest(): Promise<bigint> {
    await this.#collect(false);
    return this.#dirty.bytes;
  }

  async copy(sink: GuestMemorySink, limit: number, final: boolean): Promise<void> {
    if (final) await this.#collect(true);
    await this.#copier.copy(sink, final ? Number.POSITIVE_INFINITY : limit);
  }

  async stop(): Promise<void> {
    if (!this.#watching) return;
    this.#watching = false;
    // A device that was reset or is gone logs no longer anyway.
    await Promise.allSettled(this.#writers.map((writer) => writer.stop()));
  }

  async #collect(final: boolean): Promise<void> {
    await Promise.all(
      this.#writers.map(async (writer) => {
        try {
          await writer.report(this.#dirty);
        } catch (error) {
          await this.#distrust(writer, error, final);
        }
      }),
    );
  }

  /** It is watched anew before all is marked, so that no write falls between; it may have been reset meanwhile. */
  async #distrust(writer: DirtyTracker, error: unknown, final: boolean): Promise<void> {
    const { name } = writer;
    const failure = this.#failures.get(writer) ?? { name, why: messageOf(error), times: 0 };
    failure.times += 1;
    this.#failures.set(writer, failure);
    if (!final) {
      await Promise.allSettled([writer.stop()]);
      await Promise.allSettled([writer.start(this.#memory)]);
    }
    this.#dirty.all();
  }
}

function untracked({ name }: DirtyTracker, cause: unknown): GuestMemoryError {
  const what = `${name} does not tell what it writes to guest memory: ${messageOf(cause)}`;
  const message = `${what}. Pause the guest and move its memory without this writer, or move it by other means`;
  return new GuestMemoryError('ERR_GUEST_MEMORY_TRACKING', message, { name }, cause);
}
