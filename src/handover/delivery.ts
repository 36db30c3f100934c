import type { Native } from '../native/index.ts';
import type { ValueOfStruct } from '../protocol/index.ts';
import type { Owned } from '../server/index.ts';
import { FdTable } from './fd-table.ts';
import { damagedRecord, unexpected } from './handover-error.ts';
import { MAX_RECORD, MAX_RECORD_FDS, StateHead } from './layout.ts';
import { Unpacker } from './pack.ts';
import type { HandoverRecord } from './record.ts';
import { decodeRecord } from './record-decoder.ts';

/** What the other process has announced with STATE, and what of it has come. */
export class Delivery {
  readonly head: ValueOfStruct<typeof StateHead>;
  readonly #native: Native;
  readonly #pieces: Uint8Array[] = [];
  readonly #fds: number[] = [];
  #bytes = 0;
  #record: HandoverRecord | null = null;
  /** Fds of the record that nobody has been given yet. */
  readonly #unowned = new Set<number>();

  /** Throws HandoverError for what can't be, before anything is taken. */
  constructor(native: Native, announcement: Uint8Array) {
    const from = new Unpacker(announcement);
    const head = from.struct(StateHead);
    from.end();
    if (head.recordLength > MAX_RECORD || head.fds > MAX_RECORD_FDS) throw damagedRecord('is too large');
    this.head = head;
    this.#native = native;
  }

  /** Takes a copy of bytes of the record. Throws HandoverError for more than was announced. */
  addBytes(piece: Uint8Array): void {
    this.#bytes += piece.length;
    if (this.#bytes > this.head.recordLength) throw damagedRecord('is longer than announced');
    this.#pieces.push(piece.slice());
  }

  /** Takes fds of the record, which are its own from now on, and returns how many are still to come. */
  addFds(fds: readonly number[]): number {
    if (this.#record !== null && fds.length > 0) throw closing(this.#native, fds);
    this.#fds.push(...fds);
    for (const fd of fds) this.#unowned.add(fd);
    if (this.#fds.length > this.head.fds) throw damagedRecord('is longer than announced');
    return this.head.fds - this.#fds.length;
  }

  /** How many fds have come. */
  get fdCount(): number {
    return this.#fds.length;
  }

  /** The record, once it has come as a whole; null before. Throws HandoverError for one that is damaged. */
  record(): HandoverRecord | null {
    if (this.#record !== null) return this.#record;
    if (this.#bytes < this.head.recordLength || this.#fds.length < this.head.fds) return null;
    const bytes = Buffer.concat(this.#pieces);
    if (this.#native.crc32(bytes, 0) !== this.head.recordChecksum) throw damagedRecord('was damaged');
    const table = new FdTable(this.#native, this.#fds);
    try {
      this.#record = decodeRecord(bytes, table);
    } finally {
      for (const fd of table.given) this.#unowned.add(fd);
    }
    return this.#record;
  }

  /** These fds have an owner now: {@link discard} leaves them alone. */
  readonly owned: Owned = (fds) => {
    for (const fd of fds) if (fd !== null) this.#unowned.delete(fd);
  };

  /** The device stays where it is: closes what has no owner. */
  discard(): void {
    for (const fd of this.#unowned) this.#native.close(fd);
    this.#unowned.clear();
  }
}

function closing(native: Native, fds: readonly number[]): Error {
  for (const fd of fds) native.close(fd);
  return unexpected('sends more descriptors than it has announced');
}
