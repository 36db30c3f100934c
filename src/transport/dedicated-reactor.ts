import { Control, check, type Native } from '../native/index.ts';
import type { Closeable, Reactor, SocketBuffers, SocketEvents, SocketPort } from './reactor.ts';
import { type SpinOptions, steer } from './spin-options.ts';

/** poll(2) event bits (poll.h). */
const POLLIN = 1;
const POLLOUT = 4;

/** How long a thread blocks before it returns to JavaScript, so that terminate() and exit() work, in milliseconds. */
const SLICE_MS = 100;
/**
 * How long it blocks for its only socket while messages flow, in milliseconds: a tick of the kernel's clock. So short a
 * wait inside recvmsg costs nothing to set up, unlike the precise ones of poll, for which a timer is programmed.
 */
const FLOW_MS = 4;
/** After how many messages in a row the listeners are looked at. */
const MESSAGES_BETWEEN_LOOKS = 256;

/**
 * Waits by blocking its thread: the lowest latency there is, for a thread that does nothing else, and for
 * synchronous clients. While one socket is all there is to wait for, a message costs one receive and one send;
 * listeners are looked at whenever nothing came, and every few hundred messages. A timer that falls due just when
 * messages cease may be late by a tick of the kernel's clock. Promise jobs do not run inside.
 */
export class DedicatedReactor implements Reactor {
  readonly mode = 'dedicated';
  readonly #native: Native;
  readonly #ports: BlockingPort[] = [];
  readonly #watches: Watch[] = [];
  readonly #timers: Timer[] = [];
  readonly #jobs: (() => void)[] = [];
  readonly #options: SpinOptions;
  /** Whether the last wait for the only socket brought something. */
  #flowing = true;
  #sinceLook = 0;
  #set = new Int32Array(3 * 8);

  constructor(native: Native, options: SpinOptions = {}) {
    this.#native = native;
    this.#options = options;
  }

  open(fd: number, buffers: SocketBuffers, events: SocketEvents): SocketPort {
    steer(buffers, this.#options);
    check(this.#native.setBlocking(fd, FLOW_MS), 'setBlocking', { fd });
    const port = new BlockingPort(fd, buffers, events, () => remove(this.#ports, port));
    this.#ports.push(port);
    return port;
  }

  watch(fd: number, readable: () => void): Closeable {
    const watch: Watch = { fd, readable, close: () => remove(this.#watches, watch) };
    this.#watches.push(watch);
    return watch;
  }

  after(ms: number, run: () => void): Closeable {
    return this.#timer(ms, run, 0);
  }

  every(ms: number, run: () => void): Closeable {
    return this.#timer(ms, run, ms);
  }

  defer(job: () => void): void {
    this.#jobs.push(job);
  }

  /** Runs until `done` says so or `timeoutMs` has passed; returns what `done` said last. */
  runUntil(done: () => boolean, timeoutMs: number): boolean {
    this.#runJobs();
    if (done()) return true;
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      this.runOnce(Math.max(0, deadline - performance.now()));
      if (done()) return true;
      if (performance.now() >= deadline) return false;
    }
  }

  /** Serves whatever comes until `stop` says so, which is asked at least once in a slice. */
  run(stop: () => boolean): void {
    while (!stop()) this.#turn(Number.POSITIVE_INFINITY, MESSAGES_BETWEEN_LOOKS);
  }

  /** Waits at most `maxMs` (and never longer than a slice) for one thing to happen, and handles it. */
  runOnce(maxMs: number): void {
    this.#turn(maxMs, 1);
  }

  #turn(maxMs: number, limit: number): void {
    this.#runJobs();
    const wait = Math.ceil(Math.min(maxMs, SLICE_MS, this.#untilTimer()));
    const [only] = this.#ports;
    const lookAround = this.#watches.length > 0 && this.#sinceLook >= MESSAGES_BETWEEN_LOOKS;
    if (only !== undefined && this.#flowing && this.#ports.length === 1 && !lookAround && only.readableOnly) {
      this.#exchangeWith(only, wait, limit);
    } else {
      this.#pollAll(lookAround ? 0 : wait);
    }
    if (this.#timers.length > 0) this.#runTimers();
    this.#runJobs();
  }

  #exchangeWith(port: BlockingPort, wait: number, limit: number): void {
    const count = port.exchange(this.#native, wait > 0 ? -1 : 0, limit);
    this.#sinceLook += count;
    this.#flowing = count > 0 || wait === 0;
  }

  #pollAll(wait: number): void {
    this.#sinceLook = 0;
    const ports = this.#ports.slice();
    const watches = this.#watches.slice();
    const count = ports.length + watches.length;
    if (this.#set.length < count * 3) this.#set = new Int32Array(count * 6);
    const set = this.#set;
    for (const [i, port] of ports.entries()) {
      fill(set, i, port.fd, (port.readable ? POLLIN : 0) | (port.writing ? POLLOUT : 0));
    }
    for (const [i, watch] of watches.entries()) fill(set, ports.length + i, watch.fd, POLLIN);
    if (this.#native.poll(set, count, wait) <= 0) return;
    for (const [i, port] of ports.entries()) this.#servePort(port, set[i * 3 + 2] ?? 0);
    for (const [i, watch] of watches.entries()) {
      if ((set[(ports.length + i) * 3 + 2] ?? 0) !== 0 && this.#watches.includes(watch)) watch.readable();
    }
  }

  #servePort(port: BlockingPort, ready: number): void {
    if ((ready & POLLOUT) !== 0 && !port.closed) port.events.writable();
    if ((ready & ~POLLOUT) === 0 || port.closed || !port.readable) return;
    this.#flowing = true;
    port.exchange(this.#native, 0, 1);
  }

  #timer(ms: number, run: () => void, period: number): Closeable {
    const timer: Timer = {
      at: performance.now() + ms,
      run,
      period,
      close: () => remove(this.#timers, timer),
    };
    this.#timers.push(timer);
    return timer;
  }

  #untilTimer(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const timer of this.#timers) next = Math.min(next, timer.at);
    return next === Number.POSITIVE_INFINITY ? next : Math.max(0, next - performance.now());
  }

  #runTimers(): void {
    const now = performance.now();
    for (const timer of this.#timers.filter((each) => each.at <= now)) {
      if (!this.#timers.includes(timer)) continue;
      if (timer.period > 0) timer.at = now + timer.period;
      else timer.close();
      timer.run();
    }
  }

  #runJobs(): void {
    for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) job();
  }
}

interface Watch extends Closeable {
  readonly fd: number;
  readonly readable: () => void;
}

interface Timer extends Closeable {
  at: number;
  readonly period: number;
  readonly run: () => void;
}

class BlockingPort implements SocketPort {
  readonly fd: number;
  readonly events: SocketEvents;
  readonly #buffers: SocketBuffers;
  readonly #received: (result: number) => void;
  readonly #writable: () => void;
  readonly #onClose: () => void;
  #receiving = false;
  writing = false;
  closed = false;

  constructor(fd: number, buffers: SocketBuffers, events: SocketEvents, onClose: () => void) {
    this.fd = fd;
    this.#buffers = buffers;
    this.events = events;
    this.#received = (result) => events.received(result);
    this.#writable = () => events.writable();
    this.#onClose = onClose;
  }

  /**
   * Whether it wants data now. Not while what it received is handled: a handler may run the reactor itself (a client
   * inside a callback of another), and would overwrite what is being handled.
   */
  get readable(): boolean {
    return !this.#receiving && (this.#buffers.control[Control.RX_LENGTH] ?? 0) > 0;
  }

  /** Whether data is all that it waits for. */
  get readableOnly(): boolean {
    return !this.writing && this.readable;
  }

  /** Handles up to `limit` receives, each waiting as `wait` says (see Native.exchange); returns how many there were. */
  exchange(native: Native, wait: number, limit: number): number {
    const { rx, tx, fds, control } = this.#buffers;
    this.#receiving = true;
    try {
      return native.exchange(this.fd, rx, tx, fds, control, this.#received, this.#writable, wait, limit);
    } finally {
      this.#receiving = false;
    }
  }

  expect(offset: number, length: number): void {
    if (this.closed) return;
    const { control } = this.#buffers;
    control[Control.RX_OFFSET] = offset;
    control[Control.RX_LENGTH] = length;
  }

  awaitWritable(wanted: boolean): void {
    this.writing = wanted;
  }

  close(): void {
    if (this.closed) return;
    this.expect(0, 0);
    this.closed = true;
    const { control } = this.#buffers;
    control[Control.TX_END] = control[Control.TX_START] ?? 0;
    this.#onClose();
  }
}

/** An fd of which nothing is wanted is left out (poll skips negative ones): a hang-up would be reported forever. */
function fill(set: Int32Array, index: number, fd: number, events: number): void {
  set[index * 3] = events === 0 ? -1 : fd;
  set[index * 3 + 1] = events;
  set[index * 3 + 2] = 0;
}

function remove<T>(list: T[], item: T): void {
  const index = list.indexOf(item);
  if (index >= 0) list.splice(index, 1);
}
