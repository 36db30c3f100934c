import type { Possessions } from '../device/index.ts';

/**
 * The other end of a serial line: a terminal, a socket, a test. Nothing is lost between it and the guest: each side
 * takes what it can and leaves the rest with the other.
 */
export interface SerialBackend {
  /**
   * Takes bytes that the guest has sent, the first ones first; returns how many. The rest is offered again after
   * `ready`. The array is the backend's to keep.
   */
  write(bytes: Uint8Array): number;
  /** Moves bytes for the guest into `target`, at most as many as it has room for; returns how many, 0 without any. */
  read(target: Uint8Array): number;
  /**
   * Called once, when the device is there. From then on `ready` is called whenever {@link read} may return bytes
   * after it returned 0, or {@link write} may take bytes that it has left.
   */
  onReady(ready: () => void): void;
  /**
   * Gives this end of the line to another process of this host; what is given stays the backend's, which leaves it alone
   * until {@link resume}. Absent: the other process has an end of its own.
   */
  handOver?(): Possessions;
  /** Goes on with what {@link handOver} has given in another process, after {@link resume}. The fds are the backend's. */
  takeOver?(possessions: Possessions): void;
  /** The device runs, for the first time or again. */
  resume?(): void;
}

/** A line with nobody at its other end: what is sent is lost, and nothing comes. */
export const NO_BACKEND: SerialBackend = {
  write: (bytes) => bytes.length,
  read: () => 0,
  onReady: () => undefined,
};
