import { MAX_BODY } from '../../channel/index.ts';

/** With a bandwidth limit, chunks are so small that they come this often per second. */
const PACED_CHUNKS_PER_SECOND = 20;
const SMALLEST_CHUNK = 4096;

/** Bytes per read at most: what is wanted, what a message takes, and what the limit of the bandwidth makes sensible. */
export function chunkSize(wanted: number, bytesPerSecond: number | null): number {
  const chunk = Math.min(wanted, MAX_BODY);
  if (bytesPerSecond === null) return chunk;
  return Math.min(chunk, Math.max(SMALLEST_CHUNK, Math.floor(bytesPerSecond / PACED_CHUNKS_PER_SECOND)));
}
