import type { FdFacts } from '../relay/index.ts';

/** What a descriptor is, for people: `memfd of 4096 bytes`. */
export function describeFacts({ kind, size }: FdFacts): string {
  return kind === 'memfd' || kind === 'file' ? `${kind} of ${size} bytes` : kind;
}
