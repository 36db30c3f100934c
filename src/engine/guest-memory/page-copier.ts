import { setImmediate } from 'node:timers/promises';
import { MAX_BODY } from '../../channel/index.ts';
import type { DirtyBitmap } from '../../memory/index.ts';
import type { GuestMemorySink } from './guest-memory.ts';
import { type MemoryRegion, PAGE_SIZE } from './memory-region.ts';

/** Pages of one message at most. */
const RUN_PAGES = MAX_BODY / PAGE_SIZE;
/** Pages that are looked at before others get their turn: a scan of zeros never waits for anything by itself. */
const PAGES_IN_A_TURN = 4096;

const ZEROS = new Uint8Array(PAGE_SIZE);

/** A run of zero pages that has not been sent yet. */
interface ZeroRun {
  first: number;
  end: number;
}

/**
 * Sends dirty pages in runs as long as a message may be, and pages that are all zero as such. Memory goes on being
 * written meanwhile, so a page's bit is cleared before the page is read.
 */
export class PageCopier {
  readonly #regions: readonly Buffer[];
  readonly #bitmaps: readonly DirtyBitmap[];
  #looked = 0;

  constructor(regions: readonly MemoryRegion[], bitmaps: readonly DirtyBitmap[]) {
    this.#regions = regions.map(({ bytes }) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
    this.#bitmaps = bitmaps;
  }

  /** Sends what is dirty, or about `limit` bytes of it; zero pages are free. */
  async copy(sink: GuestMemorySink, limit: number): Promise<void> {
    let left = limit;
    for (const [region, memory] of this.#regions.entries()) {
      if (left > 0) left -= await this.#copyRegion(sink, region, memory, left);
    }
  }

  async #copyRegion(sink: GuestMemorySink, region: number, memory: Buffer, limit: number): Promise<number> {
    const bits = this.#bitmaps[region];
    if (bits === undefined) return 0;
    const zeros: ZeroRun = { first: 0, end: 0 };
    let sent = 0;
    for (let at = bits.nextSet(0); at < bits.length && sent < limit; at = bits.nextSet(at)) {
      const end = Math.min(bits.nextClear(at), at + RUN_PAGES);
      bits.clearRange(at, end);
      for (let first = at; first < end; ) {
        const isZero = isZeroPage(memory, first);
        const last = endOfRun(memory, first, end, isZero);
        if (isZero) await this.#joinZeros(sink, region, zeros, first, last);
        else {
          await flush(sink, region, zeros);
          sent += await this.#send(sink, region, memory, first, last);
        }
        first = last;
      }
      await this.#breathe(end - at);
      at = end;
    }
    await flush(sink, region, zeros);
    return sent;
  }

  async #joinZeros(
    sink: GuestMemorySink,
    region: number,
    zeros: ZeroRun,
    first: number,
    end: number,
  ): Promise<void> {
    if (zeros.end !== first) {
      await flush(sink, region, zeros);
      zeros.first = first;
    }
    zeros.end = end;
  }

  async #send(
    sink: GuestMemorySink,
    region: number,
    memory: Buffer,
    first: number,
    end: number,
  ): Promise<number> {
    const bytes = memory.subarray(first * PAGE_SIZE, end * PAGE_SIZE);
    const room = sink.pages(region, BigInt(first) * BigInt(PAGE_SIZE), bytes);
    if (room !== null) await room;
    return bytes.length;
  }

  async #breathe(pages: number): Promise<void> {
    this.#looked += pages;
    if (this.#looked < PAGES_IN_A_TURN) return;
    this.#looked = 0;
    await setImmediate();
  }
}

async function flush(sink: GuestMemorySink, region: number, zeros: ZeroRun): Promise<void> {
  const { first, end } = zeros;
  zeros.first = end;
  if (first === end) return;
  await sink.zeros(region, BigInt(first) * BigInt(PAGE_SIZE), BigInt(end - first) * BigInt(PAGE_SIZE));
}

/** The end of the pages from `first` on that are as `first` is. */
function endOfRun(memory: Buffer, first: number, end: number, isZero: boolean): number {
  let next = first + 1;
  while (next < end && isZeroPage(memory, next) === isZero) next += 1;
  return next;
}

function isZeroPage(memory: Buffer, page: number): boolean {
  const at = page * PAGE_SIZE;
  return memory[at] === 0 && memory.compare(ZEROS, 0, PAGE_SIZE, at, at + PAGE_SIZE) === 0;
}
