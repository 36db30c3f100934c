import { setImmediate } from 'node:timers/promises';
import { DirtyBitmap } from '../../memory/index.ts';
import type { GuestMemoryTarget } from './guest-memory.ts';
import { GuestMemoryError } from './guest-memory-error.ts';
import { type MemoryRegion, PAGE_SIZE, requireRegions } from './memory-region.ts';

/** How a {@link MappedMemoryTarget} finds its memory. */
export interface MappedMemoryTargetOptions {
  /** Nobody has written to it since it was made: zero pages need not be written, and take no memory. False by default. */
  readonly fresh?: boolean;
}

/** Bytes that are filled before others get their turn. */
const FILLED_IN_A_TURN = 16 * 1024 * 1024;

interface Target {
  readonly bytes: Uint8Array;
  /** Pages that may have something in them. */
  readonly used: DirtyBitmap;
}

/** Guest memory at the destination, in this process. What arrives is checked once more where it is written. */
export class MappedMemoryTarget implements GuestMemoryTarget {
  readonly regions: readonly number[];
  readonly #targets: readonly Target[];

  /** @throws GuestMemoryError ERR_GUEST_MEMORY_REGIONS */
  constructor(memory: readonly MemoryRegion[], { fresh = false }: MappedMemoryTargetOptions = {}) {
    requireRegions(memory);
    this.regions = memory.map(({ bytes }) => bytes.length);
    this.#targets = memory.map(({ bytes }) => {
      const used = new DirtyBitmap(bytes.length / PAGE_SIZE);
      if (!fresh) used.setRange(0, used.length);
      return { bytes, used };
    });
  }

  /** @throws GuestMemoryError ERR_GUEST_MEMORY_RANGE */
  pages(region: number, offset: bigint, bytes: Uint8Array): null {
    const { target, start, end } = this.#locate(region, offset, BigInt(bytes.length));
    if (start === end) return null;
    target.used.setRange(Math.floor(start / PAGE_SIZE), Math.ceil(end / PAGE_SIZE));
    target.bytes.set(bytes, start);
    return null;
  }

  /** @throws GuestMemoryError ERR_GUEST_MEMORY_RANGE */
  zeros(region: number, offset: bigint, length: bigint): Promise<void> | null {
    const { target, start, end } = this.#locate(region, offset, length);
    if (end - start > FILLED_IN_A_TURN) return fillInTurns(target, start, end);
    fill(target, start, end);
    return null;
  }

  #locate(region: number, offset: bigint, length: bigint): { target: Target; start: number; end: number } {
    const target = this.#targets[region];
    const size = BigInt(target?.bytes.length ?? 0);
    if (target !== undefined && offset >= 0n && length >= 0n && offset <= size && length <= size - offset) {
      return { target, start: Number(offset), end: Number(offset + length) };
    }
    const message = `${length} bytes at ${offset} of region ${region} are not guest memory`;
    throw new GuestMemoryError('ERR_GUEST_MEMORY_RANGE', message, { region, offset, length });
  }
}

async function fillInTurns(target: Target, start: number, end: number): Promise<void> {
  for (let at = start; at < end; at += FILLED_IN_A_TURN) {
    fill(target, at, Math.min(end, at + FILLED_IN_A_TURN));
    await setImmediate();
  }
}

/** Touches only pages that may have something in them. */
function fill({ bytes, used }: Target, start: number, end: number): void {
  const last = Math.ceil(end / PAGE_SIZE);
  let page = used.nextSet(Math.floor(start / PAGE_SIZE));
  while (page < last) {
    const clear = Math.min(last, used.nextClear(page));
    bytes.fill(0, Math.max(start, page * PAGE_SIZE), Math.min(end, clear * PAGE_SIZE));
    page = used.nextSet(clear);
  }
}
