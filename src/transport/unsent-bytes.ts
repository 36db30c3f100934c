import { HEADER_SIZE, littleEndian } from '../protocol/index.ts';
import { SIZE_AT } from './framer.ts';

/** A message with fds: where it begins and ends. */
export interface FdMark {
  readonly at: number;
  readonly end: number;
  readonly fds: readonly number[];
}

/** Bytes that were begun and not sent, with the fds that go with them. */
export interface UnsentBytes {
  readonly bytes: Uint8Array;
  /** How many bytes at the front are the rest of a message of which part has been sent. */
  readonly rest: number;
  /** Places in `bytes`. Ascending. */
  readonly fdMarks: readonly FdMark[];
}

/** Where the newest message begins; 0 when there is none but a rest, null when these are no whole messages. */
export function newestMessage({ bytes, rest }: UnsentBytes): number | null {
  if (rest > bytes.length) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let newest = 0;
  for (let at = rest, size = 0; at < bytes.length; at += size) {
    const left = bytes.length - at;
    size = left < HEADER_SIZE ? 0 : view.getUint32(at + SIZE_AT, littleEndian);
    if (size < HEADER_SIZE || size > left) return null;
    newest = at;
  }
  return newest;
}
