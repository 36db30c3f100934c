/** Something that can be closed; closing twice is harmless. */
export interface Closeable {
  close(): void;
}

/** What a socket tells its owner. */
export interface SocketEvents {
  /** Bytes received (> 0), end of file (0) or a negated errno. The received fds are in the port's `fds`. */
  received(result: number): void;
  /** The socket takes data again, after {@link SocketPort.awaitWritable}; or it has not taken all that was left to send. */
  writable(): void;
}

/** A socket that a reactor reads and writes for its owner. */
export interface SocketPort extends Closeable {
  /** Where the next receive puts its bytes, and how many at most; 0 stops reading until the next call. */
  expect(offset: number, length: number): void;
  /** Whether to call `writable` when the socket takes data again. */
  awaitWritable(wanted: boolean): void;
}

/** The buffers of a socket, which belong to the owner of the port. */
export interface SocketBuffers {
  readonly rx: Uint8Array;
  readonly tx: Uint8Array;
  /** [0] the number of fds that came with the last receive, which follow. */
  readonly fds: Int32Array;
  /**
   * {@link CONTROL_LENGTH} elements, see {@link Control}. When a callback returns, the port sends tx[TX_START...TX_END]
   * and advances TX_START; if not all was taken, it calls `writable`. The other elements are the port's.
   */
  readonly control: Int32Array;
}

/**
 * Who waits for sockets and clocks: the event loop of Node, or a thread of its own that blocks. Connections,
 * listeners and device timers are written against this, so that both modes run the same code.
 */
export interface Reactor {
  readonly mode: 'event-loop' | 'dedicated';
  /** Starts reading `fd`; the owner keeps the fd and closes it after the port. */
  open(fd: number, buffers: SocketBuffers, events: SocketEvents): SocketPort;
  /** Calls `readable` whenever `fd` (a listener, an eventfd) is readable. */
  watch(fd: number, readable: () => void): Closeable;
  /** Calls `run` once after `ms` milliseconds. */
  after(ms: number, run: () => void): Closeable;
  /** Calls `run` every `ms` milliseconds; late calls are not made up for. */
  every(ms: number, run: () => void): Closeable;
  /** Runs `job` soon, after the current callback, with whatever else was deferred. */
  defer(job: () => void): void;
}
