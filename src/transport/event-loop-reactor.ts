import { check, type Native, type PumpHandle } from '../native/index.ts';
import type { Closeable, Reactor, ReceiveTarget, SocketEvents, SocketPort } from './reactor.ts';

/** How hard the event loop tries to answer the next request before it goes to sleep. */
export interface SpinOptions {
  /** How long to look for the next message after one was handled, in microseconds; 0 never spins. */
  readonly spinMicroseconds?: number;
  /** How long one connection may keep the loop to itself, in microseconds. */
  readonly budgetMicroseconds?: number;
}

/** Spinning pays on two cores (a wake-up costs 20 to 40 us there) and backs off by itself where it does not. */
const DEFAULT_SPIN_US = 20;
/** Timers and other connections run at least this often, however busy one connection is. */
const DEFAULT_BUDGET_US = 500;

/** Waits on Node's event loop. */
export class EventLoopReactor implements Reactor {
  readonly mode = 'event-loop';
  readonly #native: Native;
  readonly #spin: number;
  readonly #budget: number;

  constructor(native: Native, options: SpinOptions = {}) {
    this.#native = native;
    this.#spin = options.spinMicroseconds ?? DEFAULT_SPIN_US;
    this.#budget = options.budgetMicroseconds ?? DEFAULT_BUDGET_US;
  }

  open(fd: number, target: ReceiveTarget, events: SocketEvents): SocketPort {
    return new PumpPort(this.#native, fd, target, events, this.#spin, this.#budget);
  }

  watch(fd: number, readable: () => void): Closeable {
    const handle = this.#native.watchStart(fd, readable);
    if (typeof handle === 'number') {
      check(handle, 'watch', { fd });
      return { close() {} };
    }
    return { close: () => this.#native.watchClose(handle) };
  }

  after(ms: number, run: () => void): Closeable {
    const timer = setTimeout(run, ms);
    return { close: () => clearTimeout(timer) };
  }

  every(ms: number, run: () => void): Closeable {
    const timer = setInterval(run, ms);
    return { close: () => clearInterval(timer) };
  }

  defer(job: () => void): void {
    queueMicrotask(job);
  }
}

/** control[0] offset, control[1] length (0 pauses), control[2] spin in us, control[3] budget in us. */
const OFFSET = 0;
const LENGTH = 1;

class PumpPort implements SocketPort {
  readonly #native: Native;
  readonly #control: Int32Array;
  readonly #pump: PumpHandle | null;
  #reading = true;
  #writing = false;
  #closed = false;

  constructor(
    native: Native,
    fd: number,
    target: ReceiveTarget,
    events: SocketEvents,
    spin: number,
    budget: number,
  ) {
    this.#native = native;
    this.#control = Int32Array.of(0, target.rx.length, spin, budget);
    const pump = native.pumpStart(
      fd,
      target.rx,
      target.fds,
      this.#control,
      (result) => events.received(result),
      () => events.writable(),
    );
    if (typeof pump === 'number') check(pump, 'pump', { fd });
    this.#pump = typeof pump === 'number' ? null : pump;
  }

  expect(offset: number, length: number): void {
    this.#control[OFFSET] = offset;
    this.#control[LENGTH] = length;
    if (length > 0 !== this.#reading) {
      this.#reading = length > 0;
      this.#arm();
    }
  }

  awaitWritable(wanted: boolean): void {
    if (wanted === this.#writing) return;
    this.#writing = wanted;
    this.#arm();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#pump !== null) this.#native.pumpClose(this.#pump);
  }

  #arm(): void {
    if (this.#closed || this.#pump === null) return;
    this.#native.pumpArm(this.#pump, this.#reading, this.#writing);
  }
}
