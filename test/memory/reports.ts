import { DirtyLog, type IovaRange } from '../../src/memory/index.ts';

/** The numbers of the bits set, lowest bit of the first byte first. */
export function bitsOf(bitmap: Uint8Array): number[] {
  const bits: number[] = [];
  for (const [index, byte] of bitmap.entries()) {
    for (let bit = 0; bit < 8; bit++) if ((byte >> bit) & 1) bits.push(index * 8 + bit);
  }
  return bits;
}

/** A log that is on. */
export function logging(pageSize: bigint, ranges: readonly IovaRange[] = []): DirtyLog {
  const log = new DirtyLog();
  log.start(pageSize, ranges);
  return log;
}
