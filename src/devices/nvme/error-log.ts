import type { Command } from './command.ts';
import { ERROR_ENTRIES } from './limits.ts';
import { ERROR_ENTRY } from './log-layouts.ts';
import type { NvmeState } from './state.ts';

/** Stands for a command id where an error belongs to none. */
const NO_COMMAND = 0xffff;

/** Where an error happened. */
export interface ErrorPlace {
  readonly queue: number;
  readonly command?: Command;
  /** A status code; of {@link Status}. */
  readonly status: number;
  /** The first block. */
  readonly block?: bigint;
}

/** The error information log (NVM Express 1.4, section 5.14.1.1): the last errors, the newest first. */
export class ErrorLog {
  readonly #state: NvmeState;

  constructor(state: NvmeState) {
    this.#state = state;
  }

  /** Notes an error. */
  add({ queue, command, status, block = 0n }: ErrorPlace): void {
    const entry = ERROR_ENTRY.encode({
      ERROR_COUNT: this.#state.errors + 1n,
      SQID: queue,
      CID: command?.id ?? NO_COMMAND,
      STATUS: status << 1,
      LBA: block,
      NSID: command?.namespace ?? 0,
    });
    this.#state.errorLog.set(entry, this.#placeOf(this.#state.errors));
    this.#state.errors += 1n;
  }

  /** The log page. */
  page(): Uint8Array {
    const page = new Uint8Array(this.#state.errorLog.length);
    for (let age = 0; age < ERROR_ENTRIES && BigInt(age) < this.#state.errors; age++) {
      const at = this.#placeOf(this.#state.errors - 1n - BigInt(age));
      page.set(this.#state.errorLog.subarray(at, at + ERROR_ENTRY.size), age * ERROR_ENTRY.size);
    }
    return page;
  }

  #placeOf(index: bigint): number {
    return Number(index % BigInt(ERROR_ENTRIES)) * ERROR_ENTRY.size;
  }
}
