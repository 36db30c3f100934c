import type { Clock } from './clock.ts';
import type { MigrationEnd } from './migration-end.ts';
import type { CopyOrder } from './step.ts';
import { StepError } from './step-error.ts';

/** How data is taken out of devices. */
export interface PumpOptions {
  readonly clock: Clock;
  readonly devices: readonly MigrationEnd[];
  /** Bytes per read at most. */
  readonly chunkBytes: number;
  /** Reads of one device that are on the way at most. */
  readonly window: number;
  /** How long a device may take for one chunk, in milliseconds. */
  readonly timeoutMs: number;
  /** Passes a chunk on, which is valid only during the call. A promise: wait for it before more is read. */
  readonly forward: (device: number, chunk: Uint8Array) => Promise<void> | null;
  /** Turns what a device threw into the error to report. */
  readonly failed: (device: number, cause: unknown) => StepError;
}

/** What was taken. */
export interface Pumped {
  readonly bytes: number;
  /** Every device said 0: no more (for now). */
  readonly dry: boolean;
}

/** Reads of all devices together that are on the way at most: bounds what a slow way finds queued. */
const MAX_READS = 16;

/** What is read of one device. */
interface Lane extends CopyOrder {
  reading: number;
  bytes: number;
  dry: boolean;
}

/**
 * Reads devices until they run dry or their limits are reached, all at once, with several chunks on the way. A chunk is
 * passed on inside the call that delivers it, so it is never copied here; while the way is full nothing more is asked for.
 */
export class Pump {
  readonly #options: PumpOptions;
  readonly #lanes: readonly Lane[];
  readonly #done: Promise<Pumped>;
  #resolve: (pumped: Pumped) => void = () => {};
  #reject: (error: StepError) => void = () => {};
  #reading = 0;
  #blocked = 0;
  #settled = false;
  #lastBeat: number;
  #watchdog: { close(): void } | null = null;

  constructor(orders: readonly CopyOrder[], options: PumpOptions) {
    this.#options = options;
    this.#lanes = orders.map((order) => ({ ...order, reading: 0, bytes: 0, dry: false }));
    this.#lastBeat = options.clock.now();
    this.#done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Resolves when everything was passed on. Rejects with StepError; chunks that arrive after that are dropped. */
  run(): Promise<Pumped> {
    if (!this.#settled) this.#watch(this.#options.timeoutMs);
    this.#fill();
    return this.#done;
  }

  /** Ends it: something else has failed. */
  fail(error: StepError): void {
    if (this.#settle()) this.#reject(error);
  }

  /** Asks for as much as may be on the way. */
  #fill(): void {
    if (this.#settled) return;
    for (let asked = true; asked; ) {
      asked = false;
      for (const lane of this.#lanes) {
        if (!this.#mayAsk(lane)) continue;
        this.#ask(lane);
        asked = true;
      }
    }
    if (this.#reading === 0 && this.#blocked === 0) this.#finish();
  }

  #mayAsk(lane: Lane): boolean {
    const { window, chunkBytes } = this.#options;
    if (this.#settled || this.#blocked > 0 || lane.dry) return false;
    if (lane.reading >= window || this.#reading >= MAX_READS) return false;
    return lane.bytes + lane.reading * chunkBytes < lane.limit;
  }

  #ask(lane: Lane): void {
    let delivered = 0;
    const consume = (chunk: Uint8Array): void => {
      delivered += chunk.length;
      this.#forward(lane, chunk);
    };
    lane.reading += 1;
    this.#reading += 1;
    this.#options.devices[lane.device]?.read(this.#options.chunkBytes, consume).then(
      (length) => this.#hasRead(lane, length, delivered),
      (cause) => this.fail(this.#options.failed(lane.device, cause)),
    );
  }

  #hasRead(lane: Lane, length: number, delivered: number): void {
    lane.reading -= 1;
    this.#reading -= 1;
    this.#lastBeat = this.#options.clock.now();
    if (length === 0) lane.dry = true;
    if (length !== delivered) this.fail(miscounted(length, delivered));
    else this.#fill();
  }

  #forward(lane: Lane, chunk: Uint8Array): void {
    if (this.#settled) return;
    lane.bytes += chunk.length;
    let room: Promise<void> | null;
    try {
      room = this.#options.forward(lane.device, chunk);
    } catch (error) {
      return this.fail(error instanceof StepError ? error : this.#options.failed(lane.device, error));
    }
    if (room !== null) this.#block(room);
  }

  #block(room: Promise<void>): void {
    this.#blocked += 1;
    void room.finally(() => {
      this.#blocked -= 1;
      this.#lastBeat = this.#options.clock.now();
      this.#fill();
    });
  }

  /** Gives up when chunks have been asked for, and none has arrived for too long. */
  #watch(ms: number): void {
    const { clock, timeoutMs } = this.#options;
    this.#watchdog = clock.after(ms, () => {
      const idle = this.#reading === 0;
      const left = idle ? timeoutMs : this.#lastBeat + timeoutMs - clock.now();
      if (left > 0) return this.#watch(left);
      const message = `the source did not deliver data for ${timeoutMs} ms`;
      this.fail(new StepError('ERR_STEP_TIMEOUT', 'source', message));
    });
  }

  #finish(): void {
    if (!this.#settle()) return;
    const bytes = this.#lanes.reduce((sum, lane) => sum + lane.bytes, 0);
    this.#resolve({ bytes, dry: this.#lanes.every(({ dry }) => dry) });
  }

  /** True the first time. */
  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#watchdog?.close();
    return true;
  }
}

function miscounted(length: number, delivered: number): StepError {
  const message = `the source says that it read ${length} bytes, but delivered ${delivered}`;
  return new StepError('ERR_STEP_UNVERIFIED', 'source', message);
}
