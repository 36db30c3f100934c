import { Errno } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import type { Connection, DedicatedReactor } from '../transport/index.ts';
import type { Link } from './link.ts';

/** poll(2) event bits (poll.h). */
const POLLIN = 1;
const POLLOUT = 4;
/** How long a thread blocks before it returns to JavaScript, so that terminate() and exit() work, in milliseconds. */
const SLICE_MS = 100;

/**
 * Waits for an eventfd while the server's commands are answered. The dedicated reactor looks at watches only now and
 * then while its sockets are busy, which suits listeners; an interrupt is waited for together with the sockets.
 */
export class InterruptWait {
  readonly #native: Native;
  readonly #reactor: DedicatedReactor;
  readonly #link: Link;
  readonly #set = new Int32Array(3 * 3);

  constructor(native: Native, reactor: DedicatedReactor, link: Link) {
    this.#native = native;
    this.#reactor = reactor;
    this.#link = link;
  }

  /**
   * Waits for at most `timeoutMs` for `eventfd` to be signalled, and returns how often it was; 0: not in time. Without
   * an eventfd it only answers the server for so long. Throws what ended the connection.
   */
  wait(eventfd: number | null, timeoutMs: number): number {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      this.#reactor.runOnce(0);
      const times = eventfd === null ? -Errno.EAGAIN : this.#native.eventfdRead(eventfd);
      if (times > 0) return times;
      const { closedBecause } = this.#link.connection;
      if (closedBecause !== null) throw closedBecause;
      const left = deadline - performance.now();
      if (left <= 0) return 0;
      this.#poll(eventfd, Math.ceil(Math.min(left, SLICE_MS)));
    }
  }

  #poll(eventfd: number | null, ms: number): void {
    const { connection, twin } = this.#link;
    let count = 0;
    const add = (fd: number, events: number): void => {
      this.#set.set([fd, events, 0], 3 * count);
      count += 1;
    };
    if (eventfd !== null) add(eventfd, POLLIN);
    add(connection.fd, eventsOf(connection));
    if (twin !== null) add(twin.fd, eventsOf(twin));
    this.#native.poll(this.#set, count, ms);
  }
}

function eventsOf(connection: Connection): number {
  return connection.out.pending > 0 ? POLLIN | POLLOUT : POLLIN;
}
