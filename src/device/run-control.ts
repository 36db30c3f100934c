import { Errno, FerryError } from '../errors/index.ts';
import { DeviceDma } from './device-dma.ts';
import { DeviceError } from './device-error.ts';
import type { DeviceTimers } from './device-timers.ts';
import type { DeviceHost } from './served-device.ts';
import { isPromise } from './synchronous.ts';

/** How much of a device runs: nothing (STOP), everything but starting DMA (the P2P states), or everything. */
export const RunLevel = { STOPPED: 0, NO_DMA: 1, RUNNING: 2 } as const;
export type RunLevel = (typeof RunLevel)[keyof typeof RunLevel];

/** What run control runs. */
export interface RunControlOptions {
  readonly host: DeviceHost;
  readonly timers: DeviceTimers;
  /** The author's work. */
  readonly work: () => unknown;
  /** Whether the guest allows the device to be bus master: COMMAND, as far as the device cares, and not D3hot. */
  readonly isBusMaster: () => boolean;
}

/** After so many repetitions of `work` other things get a turn. */
const RUNS_IN_A_ROW = 64;

/**
 * Decides when a device's own activity runs: `work` after a kick, timers, and DMA. `work` is never entered while it is
 * in progress, nor from within a callback of the author's, nor while the device may not initiate DMA.
 */
export class RunControl {
  readonly dma: DeviceDma;
  readonly #host: DeviceHost;
  readonly #timers: DeviceTimers;
  readonly #work: () => unknown;
  readonly #isBusMaster: () => boolean;
  #level: RunLevel = RunLevel.STOPPED;
  /** Callbacks of the author's that are on the stack. */
  #depth = 0;
  #kicked = false;
  #working = false;
  /** The asynchronous work in progress; settles, never rejects. */
  #progress: Promise<void> | null = null;
  #runs = 0;
  /** Goes up with every reset; what began before must not touch what follows. */
  #epoch = 0;
  #halting = false;

  constructor({ host, timers, work, isBusMaster }: RunControlOptions) {
    this.#host = host;
    this.#timers = timers;
    this.#work = work;
    this.#isBusMaster = isBusMaster;
    this.dma = new DeviceDma(host.memory, { check: (iova, length) => this.#checkDma(iova, length) });
  }

  /** Whether timers tick. */
  get running(): boolean {
    return this.#level !== RunLevel.STOPPED;
  }

  /** Whether work and DMA may start. */
  get mayInitiateDma(): boolean {
    return this.#level === RunLevel.RUNNING;
  }

  /** Whether a reset waits for the work in progress: what that still does no longer counts. */
  get halting(): boolean {
    return this.#halting;
  }

  /** Whether `work` is in progress. */
  get working(): boolean {
    return this.#working;
  }

  /** Asks for a run of `work` as soon as it may run. */
  kick(): void {
    this.#kicked = true;
    this.#settle();
  }

  /** Something that kept work from running may be gone. */
  resume(): void {
    if (this.#kicked) this.#settle();
  }

  /** Before a callback of the author's: work waits for its end. */
  enter(): void {
    this.#depth++;
  }

  /** After a callback of the author's. */
  leave(): void {
    this.#depth--;
    if (this.#kicked) this.#settle();
  }

  /** Calls what may call the author's callbacks: work waits for its end. */
  within(call: () => void): void {
    this.enter();
    try {
      call();
    } finally {
      this.leave();
    }
  }

  /** Runs a timer's or a hook's callback; what it throws is reported, as nobody waits for it. */
  run(what: string, callback: () => unknown): void {
    this.enter();
    try {
      const result = callback();
      if (isPromise(result)) this.#refusePromise(what, result);
    } catch (error) {
      this.#report(what, error);
    } finally {
      this.leave();
    }
  }

  /**
   * Changes what runs. Going down from RUNNING, it first waits until the work in progress and all DMA are complete;
   * without any it is synchronous. Rejects with DeviceError ECANCELED when a {@link reset} comes in between.
   */
  setLevel(level: RunLevel): void | Promise<void> {
    const from = this.#level;
    if (from === RunLevel.RUNNING && level < from) {
      this.#level = RunLevel.NO_DMA;
      if (this.#working || this.dma.outstanding > 0) return this.#quiesce(level);
    }
    this.#apply(level);
  }

  /**
   * Brings the device to a stop at once, from any state: outstanding DMA is abandoned, which ends the work in
   * progress. Waits for that work to return, and for nothing that a peer would have to do.
   */
  halt(): void | Promise<void> {
    this.#epoch++;
    this.#halting = true;
    this.#apply(RunLevel.STOPPED);
    this.#kicked = false;
    this.dma.abandon();
    if (this.#progress === null) {
      this.#halting = false;
      return;
    }
    return this.#progress.then(() => {
      this.#halting = false;
    });
  }

  #apply(level: RunLevel): void {
    const from = this.#level;
    this.#level = level;
    if (level === RunLevel.STOPPED) this.#timers.pause();
    else if (from === RunLevel.STOPPED) this.#timers.resume(this.#host.timers);
    if (level === RunLevel.RUNNING) this.kick();
  }

  async #quiesce(level: RunLevel): Promise<void> {
    const epoch = this.#epoch;
    while (this.#working || this.dma.outstanding > 0) {
      await (this.#progress ?? this.dma.idle());
      if (this.#epoch !== epoch) {
        throw new DeviceError('ERR_DEVICE_QUIESCED', 'a reset came while the device was being quiesced', {
          errno: Errno.ECANCELED,
        });
      }
    }
    this.#apply(level);
  }

  /** Starts work if it is due and allowed. */
  #settle(): void {
    while (this.#kicked && this.#mayWork()) {
      this.#kicked = false;
      this.#start();
      if (!this.#working && this.#kicked && this.#yields()) return;
    }
  }

  #mayWork(): boolean {
    return this.#level === RunLevel.RUNNING && this.#depth === 0 && !this.#working && this.#isBusMaster();
  }

  #start(): void {
    this.#working = true;
    try {
      const result = this.#work();
      if (isPromise(result)) {
        if (this.#host.mode === 'event-loop') this.#progress = this.#await(result);
        else this.#refusePromise('work', result);
      }
    } catch (error) {
      this.#report('work', error);
    } finally {
      if (this.#progress === null) this.#working = false;
    }
  }

  async #await(work: PromiseLike<unknown>): Promise<void> {
    const epoch = this.#epoch;
    try {
      await work;
    } catch (error) {
      // What a reset abandoned fails as it should.
      if (this.#epoch === epoch) this.#report('work', error);
    }
    this.#working = false;
    this.#progress = null;
    if (!(this.#kicked && this.#yields())) this.#settle();
  }

  /** Work that always kicks itself must not keep everything else from running: now and then it waits for its turn. */
  #yields(): boolean {
    this.#runs++;
    if (this.#runs < RUNS_IN_A_ROW) return false;
    this.#runs = 0;
    this.#host.timers.after(0, () => this.#settle());
    return true;
  }

  #checkDma(iova: bigint, length: number): void {
    const context = { iova, length };
    if (this.#halting || !(this.mayInitiateDma || this.#working)) {
      throw new DeviceError(
        'ERR_DEVICE_QUIESCED',
        'the device may not initiate DMA now; what needs DMA belongs in work()',
        { errno: Errno.EBUSY, context },
      );
    }
    if (!this.#isBusMaster()) {
      throw new DeviceError(
        'ERR_DEVICE_BUS_MASTER',
        'the guest has not made the device bus master, or has put it into D3hot',
        {
          errno: Errno.ENODEV,
          context,
        },
      );
    }
  }

  #refusePromise(what: string, result: PromiseLike<unknown>): void {
    result.then(undefined, () => undefined);
    this.#host.report(
      new DeviceError(
        'ERR_DEVICE_ASYNCHRONOUS',
        what === 'work'
          ? 'work() returned a promise, which can never settle in dedicated mode; declare the device asynchronous'
          : `a ${what} returned a promise; what takes time belongs in work(), which a migration waits for`,
        { errno: Errno.EIO },
      ),
    );
  }

  #report(what: string, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#host.report(
      new DeviceError('ERR_DEVICE_CALLBACK', `the device's ${what} failed: ${reason}`, {
        errno: error instanceof FerryError ? error.errno : Errno.EIO,
        cause: error,
      }),
    );
  }
}
