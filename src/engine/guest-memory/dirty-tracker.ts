import type { DmaRange } from '../../client/index.ts';
import { MAX_LOGGING_RANGES } from '../../memory/index.ts';
import type { DirtyMarks } from './dirty-pages.ts';
import { GuestMemoryError } from './guest-memory-error.ts';
import { endOf, type MemoryRegion, PAGE_SIZE } from './memory-region.ts';

/** Somebody who writes to guest memory, and can tell where. */
export interface DirtyTracker {
  /** How messages call it. */
  readonly name: string;
  /** Remembers writes from now on. */
  start(regions: readonly MemoryRegion[]): Promise<void>;
  /** Says what it has written since it was asked last. A write counts when it has happened. */
  report(marks: DirtyMarks): Promise<void>;
  /** Ends it. */
  stop(): Promise<void>;
}

/** The part of a client that is needed for {@link dmaTracker}. */
export interface DmaLogger {
  readonly path: string;
  startDmaLogging(pageSize: bigint, ranges: readonly DmaRange[]): Promise<bigint>;
  stopDmaLogging(): Promise<void>;
  dmaLog(iova: bigint, length: bigint, pageSize: bigint): Promise<Uint8Array>;
}

/** Bits of one report at most: 8 GiB of 4 KiB pages in one message of 256 KiB. */
const MAX_REPORT_BITS = 2 ** 21;

/**
 * A device that logs its DMA (DMA_LOGGING_START, REPORT, STOP). Reports are asked for with the page size that START was
 * answered with, one region at a time and from its beginning: libvfio-user does not combine pages well, and refuses
 * ranges that begin inside of a region.
 */
export function dmaTracker(client: DmaLogger, name: string = client.path): DirtyTracker {
  let logged: readonly MemoryRegion[] = [];
  let pageSize = BigInt(PAGE_SIZE);
  return {
    name,
    start: async (regions) => {
      pageSize = await client.startDmaLogging(BigInt(PAGE_SIZE), rangesOf(regions));
      logged = regions;
      if (pageSize > 0n && (pageSize & (pageSize - 1n)) === 0n) return;
      const message = `${name} logs its DMA in pages of ${pageSize} bytes, which is no power of two`;
      throw new GuestMemoryError('ERR_GUEST_MEMORY_TRACKING', message, { pageSize });
    },
    report: async (marks) => {
      const step = pageSize * BigInt(MAX_REPORT_BITS);
      for (const [index, region] of logged.entries()) {
        for (let at = region.iova; at < endOf(region); at += step) {
          const length = smaller(step, endOf(region) - at);
          const bitmap = await client.dmaLog(at, length, pageSize);
          markBits(bitmap, Number(pageSize), (offset, bytes) =>
            marks.within(index, Number(at - region.iova) + offset, bytes),
          );
        }
      }
    },
    stop: () => client.stopDmaLogging(),
  };
}

/** What a VMM knows of what its vCPUs and its own devices have written. */
export interface WriteReporter {
  /** Remembers writes from now on. */
  start?(): void | Promise<void>;
  /** Calls `mark` for each range, by the guest's addresses in bytes, that was written since it was called last. */
  report(mark: (iova: bigint, length: bigint) => void): void | Promise<void>;
  stop?(): void | Promise<void>;
}

/** A VMM that tells what it has written. */
export function vmmTracker(reporter: WriteReporter, name = 'the VMM'): DirtyTracker {
  return {
    name,
    start: async () => reporter.start?.(),
    report: async (marks) => reporter.report((iova, length) => marks.range(iova, length)),
    stop: async () => reporter.stop?.(),
  };
}

/** Adjacent regions as one range; with more ranges than may be asked for, all that lies between the first and the last. */
function rangesOf(regions: readonly MemoryRegion[]): readonly DmaRange[] {
  const ranges: { iova: bigint; length: bigint }[] = [];
  for (const region of [...regions].sort((a, b) => (a.iova < b.iova ? -1 : 1))) {
    const last = ranges.at(-1);
    const length = BigInt(region.bytes.length);
    if (last !== undefined && last.iova + last.length === region.iova) last.length += length;
    else ranges.push({ iova: region.iova, length });
  }
  const [first, last] = [ranges[0], ranges.at(-1)];
  if (ranges.length <= MAX_LOGGING_RANGES || first === undefined || last === undefined) return ranges;
  return [{ iova: first.iova, length: last.iova + last.length - first.iova }];
}

/** Visits the runs of set bits; bit 0 is the lowest of byte 0. */
function markBits(bitmap: Uint8Array, pageSize: number, mark: (offset: number, bytes: number) => void): void {
  let start = -1;
  const bits = bitmap.length * 8;
  for (let bit = 0; bit < bits; bit++) {
    const byte = bitmap[bit >>> 3] ?? 0;
    if (start === -1 && byte === 0) {
      bit |= 7;
      continue;
    }
    const isSet = ((byte >>> (bit & 7)) & 1) === 1;
    if (isSet && start === -1) start = bit;
    if (isSet || start === -1) continue;
    mark(start * pageSize, (bit - start) * pageSize);
    start = -1;
  }
  if (start !== -1) mark(start * pageSize, (bits - start) * pageSize);
}

function smaller(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
