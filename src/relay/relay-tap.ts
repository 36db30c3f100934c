import type { Side } from './side.ts';

/** Why one direction of a relayed connection has come to its end. */
export type FlowEnd =
  /** Its sender has closed its output, or altogether; everything before that has been passed on. */
  | { readonly kind: 'end of stream' }
  /** Reading from its sender has failed: an errno, positive. */
  | { readonly kind: 'lost'; readonly errno: number }
  /** Its receiver takes nothing any more: an errno, positive. What had not been passed on is gone. */
  | { readonly kind: 'refused'; readonly errno: number };

/** Somebody who sees what passes. It is called after the bytes have been given to the kernel, as far as that took them. */
export interface RelayTap {
  /**
   * Bytes that arrived from `from`, with the fds that came with them. Both are valid only until this returns, and the fds
   * are not the tap's to close. The fds belong to the message that contains the last of the bytes.
   * @param at when they arrived, by performance.now()
   */
  passed(from: Side, bytes: Uint8Array, fds: readonly number[], at: number): void;
  /** Nothing more comes from `from`. Called once for each side. */
  ended(from: Side, end: FlowEnd, at: number): void;
}
