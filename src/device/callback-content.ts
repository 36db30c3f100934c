import { Errno } from '../errors/index.ts';
import type { BarContent } from './bar.ts';
import { DeviceError } from './device-error.ts';
import { isPromise, type Synchronous } from './synchronous.ts';

/** A BAR's behaviour by hand: accesses of any size at any alignment, checked to lie inside the BAR. */
export interface RegionCallbacks {
  /** Fills `target[at]` to `target[at + length - 1]` with what is read at `offset`. Throw DeviceError to refuse. */
  read(offset: number, target: Uint8Array, at: number, length: number): Synchronous;
  /** Takes `source[at]` to `source[at + length - 1]` as written at `offset`. Throw DeviceError to refuse. */
  write(offset: number, source: Uint8Array, at: number, length: number): Synchronous;
}

/** A BAR behind an author's callbacks. */
export class CallbackContent implements BarContent {
  readonly #callbacks: RegionCallbacks;

  constructor(callbacks: RegionCallbacks) {
    this.#callbacks = callbacks;
  }

  read(offset: number, target: Uint8Array, at: number, length: number): void {
    requireSynchronous(this.#callbacks.read(offset, target, at, length), offset);
  }

  write(offset: number, source: Uint8Array, at: number, length: number): void {
    requireSynchronous(this.#callbacks.write(offset, source, at, length), offset);
  }
}

function requireSynchronous(result: Synchronous, offset: number): void {
  if (result === undefined || !isPromise(result)) return;
  Promise.resolve(result).catch(() => undefined);
  throw new DeviceError(
    'ERR_DEVICE_ASYNCHRONOUS',
    'a region callback is not synchronous: note what is to be done in the state and kick() work',
    { errno: Errno.EIO, context: { offset } },
  );
}
