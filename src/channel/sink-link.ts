import type { Sink } from './file-sink.ts';
import type { Link, LinkBuffer, LinkEvents, LinkPeer, Staging } from './link.ts';

/** From how much on that waits to be written it is full, in bytes. */
const HIGH = 2 * 1024 * 1024;

/** A sink as a link that only takes. */
export class SinkLink implements Link, Staging {
  readonly peer: LinkPeer;
  readonly kind = 'stream';
  readonly staging = this;
  left = 0;
  #reserved = new Uint8Array(0);
  readonly #sink: Sink;
  #events: LinkEvents | null = null;
  #writing: Promise<void> = Promise.resolve();
  #outstanding = 0;
  #full = false;
  #broken = false;

  constructor(sink: Sink) {
    this.#sink = sink;
    this.peer = { carrier: 'file', address: sink.name, identity: null, fingerprint: null };
  }

  get full(): boolean {
    return this.#full;
  }

  start(_into: LinkBuffer, events: LinkEvents): void {
    this.#events = events;
  }

  write(head: Uint8Array, body: Uint8Array | null): number {
    const bytes = this.reserve(head.length + (body?.length ?? 0));
    bytes.set(head);
    if (body !== null) bytes.set(body, head.length);
    this.commit();
    return bytes.length;
  }

  reserve(size: number): Uint8Array {
    this.#reserved = new Uint8Array(size);
    return this.#reserved;
  }

  commit(): void {
    const bytes = this.#reserved;
    this.#outstanding += bytes.length;
    if (this.#outstanding >= HIGH) this.#full = true;
    this.#writing = this.#writing.then(() => this.#write(bytes));
  }

  /** Resolves when everything that was taken is written, or could not be. */
  flushed(): Promise<void> {
    return this.#writing;
  }

  end(): void {}

  destroy(): void {
    this.#broken = true;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (this.#broken) return;
    try {
      await this.#sink.write(bytes);
    } catch (error) {
      this.#broken = true;
      this.#events?.failed(error instanceof Error ? error : new Error(String(error)));
    }
    this.#outstanding -= bytes.length;
    this.left += bytes.length;
    if (!this.#full || this.#outstanding >= HIGH / 2) return;
    this.#full = false;
    this.#events?.writable();
  }
}
