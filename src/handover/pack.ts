import type { Fields, Struct, StructValue } from '../protocol/index.ts';
import { damagedRecord } from './handover-error.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** What most records take, in bytes. */
const USUAL_SIZE = 8 * 1024;

/** Writes structures and bytes one behind the other. */
export class Packer {
  #bytes = new Uint8Array(USUAL_SIZE);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  /** Appends a structure. Throws ProtocolError for a value that does not fit its field. */
  struct<F extends Fields>(layout: Struct<F>, value: StructValue<F>): void {
    const at = this.#room(layout.size);
    layout.write(this.#view, at, value);
  }

  /** Appends a copy of bytes. */
  bytes(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** Everything. Nothing more may be appended. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Where the next `size` bytes go. */
  #room(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) this.#grow();
    return at;
  }

  #grow(): void {
    const before = this.#bytes;
    this.#bytes = new Uint8Array(2 * this.#length);
    this.#bytes.set(before);
    this.#view = new DataView(this.#bytes.buffer);
  }
}

/** Reads structures and bytes one behind the other. What is missing is a HandoverError ERR_HANDOVER_RECORD. */
export class Unpacker {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    // The slices of a Buffer are no copies.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The next structure. */
  struct<F extends Fields>(layout: Struct<F>): StructValue<F> {
    return layout.read(this.#view, this.#take(layout.size, layout.name));
  }

  /** `count` structures, as many as there can be in the bytes that are left. */
  structs<F extends Fields>(layout: Struct<F>, count: number): StructValue<F>[] {
    if (count * layout.size > this.left) throw damagedRecord(`ends in the middle of ${layout.name}`);
    return Array.from({ length: count }, () => this.struct(layout));
  }

  /** The next `length` bytes, a copy. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length, 'bytes');
    return this.#bytes.slice(at, at + length);
  }

  /** The next `length` bytes as UTF-8. */
  text(length: number): string {
    try {
      return utf8.decode(this.bytes(length));
    } catch {
      throw damagedRecord('has a text that is none');
    }
  }

  /** How many bytes are left. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** Throws when something is left. */
  end(): void {
    if (this.left > 0) throw damagedRecord(`has ${this.left} bytes too many`);
  }

  #take(length: number, what: string): number {
    if (length > this.left) throw damagedRecord(`ends in the middle of ${what}`);
    const at = this.#at;
    this.#at += length;
    return at;
  }
}
