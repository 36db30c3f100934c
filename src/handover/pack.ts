import type { Fields, Struct, StructValue } from '../protocol/index.ts';
import { damagedRecord } from './handover-error.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Writes structures and bytes one behind the other. */
export class Packer {
  readonly #pieces: Uint8Array[] = [];

  /** Appends a structure. Throws ProtocolError for a value that does not fit its field. */
  struct<F extends Fields>(layout: Struct<F>, value: StructValue<F>): void {
    const bytes = new Uint8Array(layout.size);
    layout.write(new DataView(bytes.buffer), 0, value);
    this.#pieces.push(bytes);
  }

  /** Appends bytes, which must not change before {@link finish}. */
  bytes(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
  }

  /** Everything. */
  finish(): Uint8Array {
    return Buffer.concat(this.#pieces);
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
