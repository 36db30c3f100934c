import type { Link, LinkBuffer, LinkEvents, LinkPeer, Staging } from '../../src/channel/link.ts';

/** One end of a pair of links within the test. What is written arrives at the other end in a later turn. */
export class FakeLink implements Link {
  readonly peer: LinkPeer = { carrier: 'tcp', address: 'test', identity: null, fingerprint: null };
  /** What was written so far. */
  readonly written: Uint8Array[] = [];
  /** How many bytes it takes before it refuses; the test raises it. */
  capacity = Number.POSITIVE_INFINITY;
  readonly kind = 'fd';
  readonly staging: Staging | null = null;
  full = false;
  left = 0;
  destroyed = false;
  ended = false;
  #into: LinkBuffer | null = null;
  #events: LinkEvents | null = null;

  start(into: LinkBuffer, events: LinkEvents): void {
    this.#into = into;
    this.#events = events;
  }

  write(head: Uint8Array, body: Uint8Array | null): number {
    const all = Buffer.concat([head, body ?? new Uint8Array()]);
    const taken = Math.min(all.length, this.capacity);
    this.capacity -= taken;
    this.left += taken;
    if (taken > 0) this.written.push(new Uint8Array(all.subarray(0, taken)));
    return taken;
  }

  end(): void {
    this.ended = true;
  }

  destroy(): void {
    this.destroyed = true;
  }

  /** Everything written, in one piece. */
  get bytes(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.written));
  }

  /** Bytes arrive, in pieces of at most `piece`. */
  arrive(bytes: Uint8Array, piece = Number.POSITIVE_INFINITY): void {
    for (let at = 0; at < bytes.length && !this.destroyed && !this.ended; ) {
      const into = this.#into;
      if (into === null || into.room === 0) return;
      const count = Math.min(into.room, bytes.length - at, piece);
      into.buffer.set(bytes.subarray(at, at + count), into.offset);
      at += count;
      this.#events?.received(count);
    }
  }

  hangUp(): void {
    if (!this.destroyed && !this.ended) this.#events?.ended();
  }

  writable(): void {
    this.#events?.writable();
  }
}
