import type { GuestMemory } from './guest-memory.ts';

/** The entries of one queue in guest memory, kept at hand while they are mapped. */
export class QueueMemory {
  readonly #guest: GuestMemory;
  #bytes: Uint8Array | null = null;
  #view: DataView = new DataView(new ArrayBuffer(0));

  constructor(guest: GuestMemory) {
    this.#guest = guest;
  }

  /** The entries, or null where they are not mapped in one piece. A map that goes away empties what was kept. */
  bytes(address: bigint, length: number): Uint8Array | null {
    if (this.#bytes !== null && this.#bytes.length > 0) return this.#bytes;
    this.#bytes = this.#guest.view(address, length);
    if (this.#bytes !== null) {
      this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
    }
    return this.#bytes;
  }

  /** The same as {@link bytes} just returned. */
  get view(): DataView {
    return this.#view;
  }

  /** The queue is elsewhere now. */
  forget(): void {
    this.#bytes = null;
  }
}
