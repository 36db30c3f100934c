import { Errno } from '../errors/index.ts';
import { check, type Native } from '../native/index.ts';
import { IoEventfdFlag, IoFdType, type IoSubRegion } from '../protocol/index.ts';
import { ClientError } from './client-error.ts';
import type { ShadowStore } from './shadow-store.ts';

/** Where a doorbell's value is left for the server. */
export interface DoorbellShadow {
  /** The file of the memory; it is the client's. */
  readonly fd: number;
  /** Bytes from its start. */
  readonly offset: bigint;
  readonly store: ShadowStore;
}

/** What a doorbell is rung with. */
export interface DoorbellParts {
  readonly native: Native;
  readonly eventfd: number | null;
  readonly shadow: DoorbellShadow | null;
  /** Its descriptors have been closed. */
  readonly closed: () => boolean;
}

/** The sizes of a write. */
const SIZES = [1n, 2n, 4n, 8n];

/** A write to a region that can be signalled through an eventfd, as KVM does it, instead of being sent. */
export class DeviceDoorbell {
  /** Bytes from the start of the region. */
  readonly offset: bigint;
  /** Bytes of the write; 0 from a server to which it does not matter. */
  readonly size: bigint;
  /** IoFdType, or a number that this version does not know. */
  readonly type: number;
  /** Only a write of this value rings it; null: of any. */
  readonly datamatch: bigint | null;
  /** The region is in the I/O space. */
  readonly ports: boolean;
  /** The eventfd, which is the client's; null from a server that sent none. */
  readonly eventfd: number | null;
  /** Where the value is left; null when it is not. */
  readonly shadow: DoorbellShadow | null;
  readonly #native: Native;
  readonly #closed: () => boolean;

  constructor(entry: IoSubRegion, { native, eventfd, shadow, closed }: DoorbellParts) {
    this.#native = native;
    this.#closed = closed;
    this.offset = entry.offset;
    this.size = entry.size;
    this.type = entry.type;
    this.datamatch = (entry.flags & IoEventfdFlag.DATAMATCH) === 0 ? null : entry.datamatch;
    this.ports = (entry.flags & IoEventfdFlag.PIO) !== 0;
    this.eventfd = eventfd;
    this.shadow = shadow;
  }

  /**
   * Rings it: what a write of `value` would do happens soon, without an answer. Rings that the server has not heard yet
   * are one. Throws ClientError ERR_CLIENT_ARGUMENT for a value that this doorbell does not stand for, ERR_DEVICE_LACKS
   * when it can't be rung, ERR_CLIENT_CLOSED.
   */
  ring(value: bigint = this.datamatch ?? 0n): void {
    if (this.#closed()) throw new ClientError('ERR_CLIENT_CLOSED', 'the doorbell has been closed');
    if (this.eventfd === null || this.type === IoFdType.IOREGIONFD) {
      throw new ClientError('ERR_DEVICE_LACKS', 'this doorbell has no eventfd', { offset: this.offset });
    }
    if (this.datamatch !== null && value !== this.datamatch) throw this.#unfit(value);
    if (this.shadow !== null) this.#leave(this.shadow, value);
    const result = this.#native.eventfdSignal(this.eventfd, 1);
    // A counter that is full has been rung already.
    if (result !== -Errno.EAGAIN) check(result, 'eventfdSignal', { offset: this.offset });
  }

  #leave({ offset, store }: DoorbellShadow, value: bigint): void {
    if (BigInt.asUintN(8 * Number(this.size), value) !== value) throw this.#unfit(value);
    store.store(Number(offset), Number(this.size), value);
  }

  #unfit(value: bigint): ClientError {
    const message = `a write of ${value} does not ring this doorbell`;
    return new ClientError('ERR_CLIENT_ARGUMENT', message, { offset: this.offset, value });
  }
}

/** Whether a value can be left where a shadow doorbell says: of a size that a write has, and aligned to it. */
export function hasSoundShadow({ size, shadowOffset }: IoSubRegion): boolean {
  return SIZES.includes(size) && shadowOffset % size === 0n;
}
