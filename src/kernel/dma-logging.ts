import type { DmaRange } from '../client/index.ts';
import { Errno } from '../errors/index.ts';
import { bitmapSize, Feature, FeatureFlag, LoggingRange, struct } from '../protocol/index.ts';
import type { DmaSpace } from './dma-space.ts';
import type { KernelFeatures } from './features.ts';
import { KernelError } from './kernel-error.ts';
import { KernelLoggingControl, KernelLoggingReport } from './uapi/structs.ts';

const NOTHING = struct('nothing', {});
/** "The core kernel code guarantees to support by minimum num_ranges that fit into a single kernel page". */
const MAX_RANGES = 4096 / LoggingRange.size;
/** Of a kernel that lacks CONFIG_IOMMUFD_DRIVER, which takes START and can't report. */
const NO_REPORT: ReadonlySet<number> = new Set([Errno.EOPNOTSUPP, Errno.ENOTTY]);

/** Logging by a device of what it writes by DMA. */
export class KernelDmaLogging {
  readonly #features: KernelFeatures;
  readonly #space: DmaSpace;

  constructor(features: KernelFeatures, space: DmaSpace) {
    this.#features = features;
    this.#space = space;
  }

  /** Whether the driver logs at all. */
  get supported(): boolean {
    return this.#features.probe(Feature.DMA_LOGGING_START, FeatureFlag.SET);
  }

  /**
   * Starts; no ranges: all that is mapped. What are more ranges than a driver has to take are made fewer by closing
   * gaps. Gives the page size that the driver chose. @throws KernelError ERR_KERNEL_LACKS where it does not log
   */
  async start(pageSize: bigint, ranges: readonly DmaRange[]): Promise<bigint> {
    const wanted =
      ranges.length > 0 ? ranges : this.#space.mappings.map(({ iova, size }) => ({ iova, length: size }));
    if (wanted.length === 0) throw argument('nothing is mapped that could be logged');
    const merged = mergeRanges(wanted, MAX_RANGES);
    const list = new Uint8Array(merged.length * LoggingRange.size);
    const view = new DataView(list.buffer);
    merged.forEach((range, i) => {
      LoggingRange.write(view, i * LoggingRange.size, range);
    });
    const control = { pageSize, numRanges: merged.length, ranges: 0n };
    const pointer = { pointee: list, at: KernelLoggingControl.at.ranges };
    const { DMA_LOGGING_START } = Feature;
    const answer = await this.#features.set(
      DMA_LOGGING_START,
      KernelLoggingControl,
      control,
      FeatureFlag.SET,
      pointer,
    );
    return answer.pageSize;
  }

  async stop(): Promise<void> {
    await this.#features.set(Feature.DMA_LOGGING_STOP, NOTHING, {});
  }

  /**
   * The pages written since the last time: bit i is page i, in whole u64 words. All ones where the driver takes START
   * but the kernel has no reports: then all has to be copied.
   */
  async report(iova: bigint, length: bigint, pageSize: bigint): Promise<Uint8Array> {
    const size = bitmapSize(length, pageSize);
    if (length <= 0n || size > MAX_BITMAP) throw argument(`there is no bitmap for ${length} bytes`);
    // The kernel sets bits, and never clears any.
    const bitmap = new Uint8Array(Number(size));
    const value = { iova, length, pageSize, bitmap: 0n };
    const pointer = { pointee: bitmap, at: KernelLoggingReport.at.bitmap };
    const { DMA_LOGGING_REPORT } = Feature;
    const { GET } = FeatureFlag;
    const answer = await this.#features.trySet(DMA_LOGGING_REPORT, KernelLoggingReport, value, GET, pointer);
    if (typeof answer !== 'number') return bitmap;
    if (NO_REPORT.has(-answer)) return bitmap.fill(0xff);
    throw new KernelError('ERR_KERNEL', 'the device did not report what it has written', -answer, {
      iova,
      length,
    });
  }
}

/** As large as the kernel's own limit for bitmaps of type 1 (DIRTY_BITMAP_SIZE_MAX). */
const MAX_BITMAP = 1n << 28n;

/** The same ranges and perhaps more, ascending, at most `limit`: those with the smallest gaps between them are joined. */
export function mergeRanges(ranges: readonly DmaRange[], limit: number): readonly DmaRange[] {
  const merged: { iova: bigint; length: bigint }[] = [];
  for (const { iova, length } of [...ranges].sort((a, b) => (a.iova < b.iova ? -1 : 1))) {
    const last = merged.at(-1);
    const end = last === undefined ? -1n : last.iova + last.length;
    if (last === undefined || iova > end) merged.push({ iova, length });
    else if (iova + length > end) last.length = iova + length - last.iova;
  }
  while (merged.length > limit) join(merged);
  return merged;
}

function join(ranges: { iova: bigint; length: bigint }[]): void {
  let best = 1;
  let smallest: bigint | null = null;
  for (let i = 1; i < ranges.length; i += 1) {
    const [before, after] = [ranges[i - 1], ranges[i]];
    if (before === undefined || after === undefined) continue;
    const gap = after.iova - before.iova - before.length;
    if (smallest !== null && gap >= smallest) continue;
    smallest = gap;
    best = i;
  }
  const [before, after] = [ranges[best - 1], ranges[best]];
  if (before === undefined || after === undefined) return;
  before.length = after.iova + after.length - before.iova;
  ranges.splice(best, 1);
}

function argument(why: string): KernelError {
  return new KernelError('ERR_KERNEL_ARGUMENT', why, Errno.EINVAL);
}
