/** Something that can be closed; closing twice is harmless. */
export interface Closeable {
  close(): void;
}

/** What a socket tells its owner. */
export interface SocketEvents {
  /** Bytes received (> 0), end of file (0) or a negated errno. The received fds are in the port's `fds`. */
  received(result: number): void;
  /** The socket takes data again, after {@link SocketPort.awaitWritable}. */
  writable(): void;
}

/** A socket that a reactor reads into a buffer of the owner's. */
export interface SocketPort extends Closeable {
  /** Where the next receive puts its bytes, and how many at most; 0 stops reading until the next call. */
  expect(offset: number, length: number): void;
  /** Whether to call `writable` when the socket takes data again. */
  awaitWritable(wanted: boolean): void;
}

/** The buffers that a port receives into; both belong to the owner. */
export interface ReceiveTarget {
  readonly rx: Uint8Array;
  /** [0] the number of fds that came with the last receive, which follow. */
  readonly fds: Int32Array;
}

/**
 * Who waits for sockets and clocks: the event loop of Node, or a thread of its own that blocks. Connections,
 * listeners and device timers are written against this, so that both modes run the same code.
 */
export interface Reactor {
  readonly mode: 'event-loop' | 'dedicated';
  /** Starts reading `fd`; the owner keeps the fd and closes it after the port. */
  open(fd: number, target: ReceiveTarget, events: SocketEvents): SocketPort;
  /** Calls `readable` whenever `fd` (a listener, an eventfd) is readable. */
  watch(fd: number, readable: () => void): Closeable;
  /** Calls `run` once after `ms` milliseconds. */
  after(ms: number, run: () => void): Closeable;
  /** Calls `run` every `ms` milliseconds; late calls are not made up for. */
  every(ms: number, run: () => void): Closeable;
  /** Runs `job` soon, after the current callback, with whatever else was deferred. */
  defer(job: () => void): void;
}
