import type { Clock } from './clock.ts';
import type { MigrationEnd } from './migration-end.ts';
import type { Copied, EndName } from './step.ts';
import { StepError } from './step-error.ts';

/** How data is moved from the source to the destination. */
export interface PipeOptions {
  readonly clock: Clock;
  /** Bytes per read at most. */
  readonly chunkBytes: number;
  /** Chunks on the way at most: asked of the source, or not yet acknowledged by the destination. */
  readonly window: number;
  /** Stop asking for more after about so many bytes; Infinity: only at the end. */
  readonly limit: number;
  /** Bytes per second at most; null for as fast as it goes. */
  readonly bytesPerSecond: number | null;
  /** How long an end may take for one chunk, in milliseconds. */
  readonly timeoutMs: number;
  /** Called when the destination has taken some bytes. */
  readonly moved: (bytes: number) => void;
  /** Turns what an end threw into the error to report. */
  readonly failed: (end: EndName, cause: unknown) => StepError;
  readonly signal: AbortSignal | undefined;
}

/**
 * Moves data until the source runs dry or the limit is reached, with several chunks on the way. A chunk is handed to
 * the destination inside the call that delivers it, so it is never copied here.
 * Rejects with a StepError; chunks that arrive after that are dropped.
 */
export function copyData(
  source: MigrationEnd,
  destination: MigrationEnd,
  options: PipeOptions,
): Promise<Copied> {
  return new Promise((resolve, reject) => {
    new Pipe(source, destination, options, resolve, reject).start();
  });
}

class Pipe {
  readonly #source: MigrationEnd;
  readonly #destination: MigrationEnd;
  readonly #options: PipeOptions;
  readonly #resolve: (copied: Copied) => void;
  readonly #reject: (error: StepError) => void;
  readonly #started: number;
  #reading = 0;
  #writing = 0;
  #delivered = 0;
  #moved = 0;
  #dry = false;
  #settled = false;
  #lastBeat: number;
  #watchdog: { close(): void } | null = null;
  #pause: { close(): void } | null = null;

  constructor(
    source: MigrationEnd,
    destination: MigrationEnd,
    options: PipeOptions,
    resolve: (copied: Copied) => void,
    reject: (error: StepError) => void,
  ) {
    this.#source = source;
    this.#destination = destination;
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#started = options.clock.now();
    this.#lastBeat = this.#started;
  }

  start(): void {
    this.#options.signal?.addEventListener('abort', this.#onAbort);
    this.#watch(this.#options.timeoutMs);
    this.#fill();
  }

  readonly #onAbort = (): void => {
    this.#fail(new StepError('ERR_STEP_CANCELLED', 'caller', 'it was cancelled'));
  };

  /** Asks for as much as may be on the way. */
  #fill(): void {
    while (this.#mayAsk()) {
      const wait = this.#millisecondsAhead();
      if (wait > 0) return this.#sleep(wait);
      this.#ask();
    }
    if (this.#reading === 0 && this.#writing === 0 && this.#pause === null) this.#finish();
  }

  #mayAsk(): boolean {
    if (this.#settled || this.#dry || this.#pause !== null) return false;
    if (this.#reading + this.#writing >= this.#options.window) return false;
    // How much a read brings is known only afterwards, so a limited bandwidth takes them one by one.
    if (this.#options.bytesPerSecond !== null && this.#reading > 0) return false;
    const onTheWay = (this.#reading + this.#writing) * this.#options.chunkBytes;
    return this.#moved + onTheWay < this.#options.limit;
  }

  #ask(): void {
    let delivered = 0;
    const consume = (chunk: Uint8Array): void => {
      delivered += chunk.length;
      this.#forward(chunk);
    };
    this.#reading += 1;
    this.#source.read(this.#options.chunkBytes, consume).then(
      (length) => this.#hasRead(length, delivered),
      (cause) => this.#fail(this.#options.failed('source', cause)),
    );
  }

  #hasRead(length: number, delivered: number): void {
    this.#reading -= 1;
    this.#lastBeat = this.#options.clock.now();
    if (length === 0) this.#dry = true;
    if (length !== delivered) this.#fail(miscounted(length, delivered));
    else this.#fill();
  }

  #forward(chunk: Uint8Array): void {
    if (this.#settled) return;
    const { length } = chunk;
    this.#delivered += length;
    this.#writing += 1;
    this.#destination.write(chunk).then(
      () => this.#hasWritten(length),
      (cause) => this.#fail(this.#options.failed('destination', cause)),
    );
  }

  #hasWritten(length: number): void {
    this.#writing -= 1;
    if (this.#settled) return;
    this.#lastBeat = this.#options.clock.now();
    this.#moved += length;
    this.#options.moved(length);
    this.#fill();
  }

  /** How far the data is ahead of the bandwidth that is allowed. */
  #millisecondsAhead(): number {
    const { bytesPerSecond, clock } = this.#options;
    if (bytesPerSecond === null) return 0;
    const due = (this.#delivered / bytesPerSecond) * 1000;
    return Math.ceil(due - (clock.now() - this.#started));
  }

  #sleep(ms: number): void {
    this.#pause = this.#options.clock.after(ms, () => {
      this.#pause = null;
      this.#fill();
    });
  }

  /** Gives up when chunks are on the way and none has arrived for too long. */
  #watch(ms: number): void {
    const { clock, timeoutMs } = this.#options;
    this.#watchdog = clock.after(ms, () => {
      const idle = this.#reading + this.#writing === 0;
      const left = idle ? timeoutMs : this.#lastBeat + timeoutMs - clock.now();
      if (left > 0) this.#watch(left);
      else this.#fail(this.#stalled());
    });
  }

  #stalled(): StepError {
    const end = this.#writing > 0 ? 'destination' : 'source';
    const verb = end === 'source' ? 'deliver' : 'take';
    const message = `the ${end} did not ${verb} data for ${this.#options.timeoutMs} ms`;
    return new StepError('ERR_STEP_TIMEOUT', end, message);
  }

  #finish(): void {
    if (!this.#settle()) return;
    const ms = this.#options.clock.now() - this.#started;
    this.#resolve({ bytes: this.#moved, dry: this.#dry, ms });
  }

  #fail(error: StepError): void {
    if (this.#settle()) this.#reject(error);
  }

  /** True the first time. */
  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#watchdog?.close();
    this.#pause?.close();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    return true;
  }
}

function miscounted(length: number, delivered: number): StepError {
  const message = `the source says that it read ${length} bytes, but delivered ${delivered}`;
  return new StepError('ERR_STEP_UNVERIFIED', 'source', message);
}
