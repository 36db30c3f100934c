import { migrationWrite } from './migration-data.ts';
import type { Settle } from './operation.ts';
import type { Requester } from './requester.ts';
import { failureOf } from './run-operation.ts';

/** One call of {@link MigrationDataWriter.write}. */
interface Write {
  /** Pieces that are not acknowledged. */
  open: number;
  failed: boolean;
  readonly settle: Settle<void>;
}

interface Piece {
  readonly data: Uint8Array;
  readonly write: Write;
}

/**
 * Cuts a state into MIG_DATA_WRITE messages, keeps them in the order of the calls, and keeps no more under way than the
 * server can take. After a failure everything that was waiting fails too: the stream has a hole.
 */
export class MigrationDataWriter {
  readonly #requester: Requester;
  readonly #maxData: number;
  readonly #maxInFlight: number;
  readonly #queue: Piece[] = [];
  #inFlight = 0;

  /** `maxData` bounds the data of one message, in bytes; `maxInFlight` how many of them are under way at once. */
  constructor(requester: Requester, maxData: number, maxInFlight: number) {
    this.#requester = requester;
    this.#maxData = maxData;
    this.#maxInFlight = maxInFlight;
  }

  /** Writes `bytes`, which may be reused when this returns; settles when the server has taken all of them. */
  write(bytes: Uint8Array, settle: Settle<void>): void {
    const write: Write = { open: Math.ceil(bytes.length / this.#maxData), failed: false, settle };
    if (write.open === 0) settle.resolve();
    for (let at = 0; at < bytes.length && !write.failed; at += this.#maxData) {
      const data = bytes.subarray(at, at + this.#maxData);
      if (this.#mayStart && this.#queue.length === 0) this.#start({ data, write });
      else this.#queue.push({ data: new Uint8Array(data), write });
    }
  }

  get #mayStart(): boolean {
    return this.#inFlight < this.#maxInFlight;
  }

  #start(piece: Piece): void {
    this.#inFlight += 1;
    this.#requester.submit(migrationWrite(piece.data), (reply, error) => {
      this.#inFlight -= 1;
      const failure = failureOf(reply, error);
      if (failure === null) this.#acknowledged(piece.write);
      else this.#fail(piece.write, failure);
      for (let next = this.#next(); next !== undefined; next = this.#next()) this.#start(next);
    });
  }

  #next(): Piece | undefined {
    return this.#mayStart ? this.#queue.shift() : undefined;
  }

  #acknowledged(write: Write): void {
    write.open -= 1;
    if (write.open === 0 && !write.failed) write.settle.resolve();
  }

  #fail(write: Write, failure: unknown): void {
    const writes = new Set([write, ...this.#queue.splice(0).map((piece) => piece.write)]);
    for (const each of writes) {
      if (!each.failed) each.settle.reject(failure);
      each.failed = true;
    }
  }
}
