/** Requests up to this many bytes are remembered whole, header included: register accesses are. */
const KEPT_BYTES = 64;
/** So many of the latest requests are remembered whole. */
const KEPT = 1024;
const IDS = 65_536;

/** A request that has not been answered. */
export interface UnansweredRequest {
  readonly id: number;
  readonly command: number;
  /** The whole message; null when it was too long to be remembered. */
  readonly bytes: Uint8Array | null;
}

/**
 * Which requests of one side the other has not answered, by message id. Allocates nothing for a request. An id that is
 * used again while it is unanswered stands for one request only, as it does for whoever gets the answer.
 */
export class Unanswered {
  /** 1 + the command; 0: the id is free. */
  readonly #commands = new Uint16Array(IDS);
  readonly #order = new Float64Array(IDS);
  readonly #sizes = new Uint8Array(IDS);
  /** By order, each in the place of the one that was KEPT before it. */
  readonly #kept = new Uint8Array(KEPT * KEPT_BYTES);
  #next = 0;
  #count = 0;
  #newest = 0;

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** A request with this id and command, whose message is bytes[start...end], is on its way. */
  add(id: number, command: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.#commands[id] === 0) this.#count += 1;
    this.#commands[id] = 1 + command;
    this.#newest = id;
    const order = this.#next;
    this.#next += 1;
    this.#order[id] = order;
    const size = end - start;
    this.#sizes[id] = size <= KEPT_BYTES ? size : 0;
    if (size > KEPT_BYTES) return;
    const at = (order % KEPT) * KEPT_BYTES;
    for (let i = 0; i < size; i += 1) this.#kept[at + i] = bytes[start + i] ?? 0;
  }

  /** An id that no request has, that `isTaken` does not know, and that is far from the next ones of who counts up. */
  freeId(isTaken: (id: number) => boolean): number {
    let id = (this.#newest + IDS / 2) % IDS;
    for (let tried = 0; tried < IDS && (this.#commands[id] !== 0 || isTaken(id)); tried += 1) {
      id = (id + 1) % IDS;
    }
    return id;
  }

  /** The answer has come; false when nothing with this id was asked. */
  answered(id: number): boolean {
    if (this.#commands[id] === 0) return false;
    this.#commands[id] = 0;
    this.#count -= 1;
    return true;
  }

  /** Takes out all of them, in the order in which they were asked. */
  takeAll(): UnansweredRequest[] {
    const all: UnansweredRequest[] = [];
    for (let id = 0; this.#count > 0 && id < IDS; id += 1) {
      const command = (this.#commands[id] ?? 0) - 1;
      if (this.answered(id)) all.push({ id, command, bytes: this.#bytesOf(id) });
    }
    return all.sort((a, b) => (this.#order[a.id] ?? 0) - (this.#order[b.id] ?? 0));
  }

  #bytesOf(id: number): Uint8Array | null {
    const size = this.#sizes[id] ?? 0;
    const order = this.#order[id] ?? 0;
    if (size === 0 || this.#next - order > KEPT) return null;
    const at = (order % KEPT) * KEPT_BYTES;
    return this.#kept.slice(at, at + size);
  }
}
