import { IrqIndex } from '../protocol/index.ts';
import type { BarContent } from './bar.ts';
import type { InterruptController } from './interrupt-controller.ts';

/** Bytes of a table entry: message address, upper address, data, vector control (PCI 3.0, section 6.8.2.6). */
const ENTRY_SIZE = 16;
const VECTOR_CONTROL = 12;
const MASK_BIT = 1;

/** Bytes of the table of so many vectors. */
export function tableSize(vectors: number): number {
  return vectors * ENTRY_SIZE;
}

/** Bytes of the pending bits of so many vectors: whole 64-bit words. */
export function pbaSize(vectors: number): number {
  return Math.ceil(vectors / 64) * 8;
}

/** The table after reset: every vector is masked. */
export function resetTable(vectors: number): Uint8Array {
  const table = new Uint8Array(tableSize(vectors));
  for (let vector = 0; vector < vectors; vector++) table[vector * ENTRY_SIZE + VECTOR_CONTROL] = MASK_BIT;
  return table;
}

/**
 * The MSI-X table as the client sees it. An entry's mask bit counts only once the client has written the entry: a VMM
 * that emulates the table itself never does, and the masked reset value must not silence its vectors.
 */
export class MsixTable implements BarContent {
  readonly #entries: Uint8Array;
  /** 1 for each entry that the client has written. */
  readonly #written: Uint8Array;
  readonly #changed: () => void;

  /** Both arrays are part of the device's state. `changed` is called after each write. */
  constructor(entries: Uint8Array, written: Uint8Array, changed: () => void) {
    this.#entries = entries;
    this.#written = written;
    this.#changed = changed;
  }

  /** Whether the client has masked this vector. */
  masked(vector: number): boolean {
    return (
      this.#written[vector] === 1 &&
      ((this.#entries[vector * ENTRY_SIZE + VECTOR_CONTROL] ?? 0) & MASK_BIT) !== 0
    );
  }

  read(offset: number, target: Uint8Array, at: number, length: number): void {
    target.set(this.#entries.subarray(offset, offset + length), at);
  }

  write(offset: number, source: Uint8Array, at: number, length: number): void {
    this.#entries.set(source.subarray(at, at + length), offset);
    this.#written.fill(1, Math.floor(offset / ENTRY_SIZE), Math.ceil((offset + length) / ENTRY_SIZE));
    this.#changed();
  }
}

/** The pending bits of MSI-X as the client sees them; writes are ignored. */
export class MsixPendingBits implements BarContent {
  readonly #interrupts: InterruptController;

  constructor(interrupts: InterruptController) {
    this.#interrupts = interrupts;
  }

  read(offset: number, target: Uint8Array, at: number, length: number): void {
    for (let i = 0; i < length; i++) target[at + i] = this.#interrupts.pendingByte(IrqIndex.MSIX, offset + i);
  }

  write(): void {}
}
