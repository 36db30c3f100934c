import { Control, check, type Native, type PumpHandle } from '../native/index.ts';
import type { Closeable, Reactor, SocketBuffers, SocketEvents, SocketPort } from './reactor.ts';
import { type SpinOptions, steer } from './spin-options.ts';

/** Waits on Node's event loop. */
export class EventLoopReactor implements Reactor {
  readonly mode = 'event-loop';
  readonly #native: Native;
  readonly #options: SpinOptions;

  constructor(native: Native, options: SpinOptions = {}) {
    this.#native = native;
    this.#options = options;
  }

  open(fd: number, buffers: SocketBuffers, events: SocketEvents): SocketPort {
    steer(buffers, this.#options);
    return new PumpPort(this.#native, fd, buffers, events);
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

class PumpPort implements SocketPort {
  readonly #native: Native;
  readonly #control: Int32Array;
  readonly #pump: PumpHandle | null;
  #reading = true;
  #writing = false;
  #closed = false;

  constructor(native: Native, fd: number, { rx, tx, fds, control }: SocketBuffers, events: SocketEvents) {
    this.#native = native;
    this.#control = control;
    const pump = native.pumpStart(
      fd,
      rx,
      tx,
      fds,
      control,
      (result) => events.received(result),
      () => events.writable(),
    );
    if (typeof pump === 'number') check(pump, 'pump', { fd });
    this.#pump = typeof pump === 'number' ? null : pump;
  }

  expect(offset: number, length: number): void {
    this.#control[Control.RX_OFFSET] = offset;
    this.#control[Control.RX_LENGTH] = length;
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
