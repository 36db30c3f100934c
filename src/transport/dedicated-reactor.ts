import type { Native } from '../native/index.ts';
import type { Closeable, Reactor, ReceiveTarget, SocketEvents, SocketPort } from './reactor.ts';

/** poll(2) event bits (poll.h). */
const POLLIN = 1;
const POLLOUT = 4;

/** How long a thread blocks before it returns to JavaScript, so that terminate() and exit() work, in milliseconds. */
const SLICE_MS = 100;
/** For `receive`: block for as long as the socket says. */
const UNTIL_SLICE_ENDS = -1;
/** After how many messages in a row the listeners are looked at. */
const MESSAGES_BETWEEN_LOOKS = 256;

/**
 * Waits by blocking its thread: the lowest latency there is, for a thread that does nothing else, and for
 * synchronous clients. While one socket is all there is to wait for, a message costs one receive and one send;
 * listeners are looked at between slices and every few hundred messages. Promise jobs do not run inside.
 */
export class DedicatedReactor implements Reactor {
  readonly mode = 'dedicated';
  readonly #native: Native;
  readonly #ports: BlockingPort[] = [];
  readonly #watches: Watch[] = [];
  readonly #timers: Timer[] = [];
  readonly #jobs: (() => void)[] = [];
  #sinceLook = 0;
  #set = new Int32Array(3 * 8);

  constructor(native: Native) {
    this.#native = native;
  }

  open(fd: number, target: ReceiveTarget, events: SocketEvents): SocketPort {
    const port = new BlockingPort(fd, target, events, () => remove(this.#ports, port));
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

  /** Waits at most `maxMs` (and never longer than a slice) for one thing to happen, and handles it. */
  runOnce(maxMs: number): void {
    this.#runJobs();
    const wait = Math.ceil(Math.min(maxMs, SLICE_MS, this.#untilTimer()));
    const [only] = this.#ports;
    const lookAround = this.#watches.length > 0 && this.#sinceLook >= MESSAGES_BETWEEN_LOOKS;
    if (only !== undefined && this.#ports.length === 1 && !lookAround && !only.writing && only.readable) {
      this.#receiveFrom(only, wait);
    } else {
      this.#pollAll(lookAround ? 0 : wait);
    }
    if (this.#timers.length > 0) this.#runTimers();
    this.#runJobs();
  }

  #receiveFrom(port: BlockingPort, wait: number): void {
    this.#sinceLook += 1;
    const idle = !port.receive(this.#native, wait);
    if (idle) this.#sinceLook = MESSAGES_BETWEEN_LOOKS;
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
    if ((ready & ~POLLOUT) !== 0 && !port.closed && port.readable) port.receive(this.#native, 0);
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
  readonly #target: ReceiveTarget;
  readonly #onClose: () => void;
  #offset = 0;
  #length: number;
  #receiving = false;
  /** Whether a receive may block for a slice in the kernel (SO_RCVTIMEO). */
  #blocking = false;
  writing = false;
  closed = false;

  constructor(fd: number, target: ReceiveTarget, events: SocketEvents, onClose: () => void) {
    this.fd = fd;
    this.#target = target;
    this.events = events;
    this.#onClose = onClose;
    this.#length = target.rx.length;
  }

  /**
   * Whether it wants data now. Not while what it received is handled: a handler may run the reactor itself (a client
   * inside a callback of another), and would overwrite what is being handled.
   */
  get readable(): boolean {
    return this.#length > 0 && !this.#receiving;
  }

  /** One receive that waits at most `wait` ms; false when nothing came. */
  receive(native: Native, wait: number): boolean {
    const { rx, fds } = this.#target;
    const how = wait === SLICE_MS ? this.#wholeSlice(native) : wait;
    const result = native.receive(this.fd, rx, this.#offset, this.#length, fds, how);
    if (result === -EAGAIN) return false;
    this.#receiving = true;
    try {
      this.events.received(result);
    } finally {
      this.#receiving = false;
    }
    return true;
  }

  /** Waiting for a whole slice is what a server does most: a blocking socket does it with one system call, not three. */
  #wholeSlice(native: Native): number {
    if (!this.#blocking) this.#blocking = native.setBlocking(this.fd, SLICE_MS) >= 0;
    return this.#blocking ? UNTIL_SLICE_ENDS : SLICE_MS;
  }

  expect(offset: number, length: number): void {
    this.#offset = offset;
    this.#length = length;
  }

  awaitWritable(wanted: boolean): void {
    this.writing = wanted;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#onClose();
  }
}

const EAGAIN = 11;

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
