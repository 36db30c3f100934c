/** What a file descriptor is, as far as its holder can tell. The order is that of the recorded numbers. */
export const FD_KINDS = [
  'unknown',
  'memfd',
  'file',
  'eventfd',
  'socket',
  'device',
  'pipe',
  'folder',
  'anonymous',
] as const;

/** One of {@link FD_KINDS}. */
export type FdKind = (typeof FD_KINDS)[number];

/** A descriptor that came with a message. */
export interface FdFacts {
  readonly kind: FdKind;
  /** Of what has one, in bytes; otherwise 0. */
  readonly size: bigint;
  /** Equal for descriptors of the same file; 0 when that can't be told, as for eventfds. */
  readonly identity: bigint;
}

/** `memfd of 64 MiB`. */
export function describeFacts({ kind, size }: FdFacts): string {
  return kind === 'memfd' || kind === 'file' ? `${kind} of ${size} bytes` : kind;
}
