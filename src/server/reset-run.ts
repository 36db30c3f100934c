import type { ResetReason, ServedDevice } from '../device/index.ts';
import { FerryError } from '../errors/index.ts';
import { deviceFailed } from './server-error.ts';

/** What follows from a reset. */
export interface ResetEvents {
  /** The device has been reset. */
  done(): void;
  /** It could not be. */
  failed(error: FerryError): void;
  /** A reset that took its time is over, whatever came of it. */
  over(): void;
}

/** Resets a device; who asks while a reset is under way waits for the same one. */
export class ResetRun {
  readonly #device: Pick<ServedDevice, 'reset'>;
  readonly #events: ResetEvents;
  #pending: Promise<void> | null = null;

  constructor(device: Pick<ServedDevice, 'reset'>, events: ResetEvents) {
    this.#device = device;
    this.#events = events;
  }

  /** Whether a reset takes its time. */
  get underWay(): boolean {
    return this.#pending !== null;
  }

  /** Resets the device, at once if it can. Throws, or rejects with, what {@link ResetEvents.failed} is told. */
  run(reason: ResetReason): void | Promise<void> {
    if (this.#pending !== null) return this.#pending;
    const pending = this.#begin(reason);
    if (pending === undefined) {
      this.#events.done();
      return;
    }
    this.#pending = pending
      .then(
        () => this.#events.done(),
        (error: unknown) => this.#fail(error),
      )
      .finally(() => {
        this.#pending = null;
        this.#events.over();
      });
    return this.#pending;
  }

  #begin(reason: ResetReason): void | Promise<void> {
    try {
      return this.#device.reset(reason);
    } catch (error) {
      return this.#fail(error);
    }
  }

  #fail(error: unknown): never {
    const failure =
      error instanceof FerryError ? error : deviceFailed('the device could not be reset', error);
    this.#events.failed(failure);
    throw failure;
  }
}
