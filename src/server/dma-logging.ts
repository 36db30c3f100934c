import { type AddressSpace, type IovaRange, reportSize } from '../memory/index.ts';
import { ServerError } from './server-error.ts';

/**
 * Who started DMA logging. The log itself is the address space's: it records what the device writes there. Another
 * connection may read it out, but only its owner's end, a reset or the end of the main connection end it.
 */
export class DmaLogging<Party extends object> {
  readonly #memory: AddressSpace;
  #owner: Party | null = null;

  constructor(memory: AddressSpace) {
    this.#memory = memory;
  }

  /** Whether the log is on. */
  get active(): boolean {
    return this.#memory.dirtyLog.pageSize !== null;
  }

  /** Bytes of a report over `length` bytes with a bit per `pageSize`. */
  reportSize(length: bigint, pageSize: bigint): number {
    return Number(reportSize(length, pageSize));
  }

  /** Starts logging; returns the page size chosen. EBUSY while another connection's log is on. */
  start(pageSize: bigint, ranges: readonly IovaRange[], by: Party): bigint {
    if (this.active && this.#owner !== by) throw busy();
    const chosen = this.#memory.dirtyLog.start(pageSize, ranges);
    this.#owner = by;
    return chosen;
  }

  /** Stops logging; harmless when it is off (the uAPI says nothing, libvfio-user succeeds). */
  stop(by: Party): void {
    if (this.active && this.#owner !== by) throw busy();
    this.end();
  }

  /** Ends it whoever started it. */
  end(): void {
    this.#memory.dirtyLog.stop();
    this.#owner = null;
  }

  /** `by` is gone. */
  leave(by: Party): void {
    if (this.#owner === by) this.end();
  }
}

function busy(): ServerError {
  return new ServerError('ERR_BUSY', 'another connection has started DMA logging');
}
