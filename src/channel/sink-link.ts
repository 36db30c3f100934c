import type { Sink } from './file-sink.ts';
import type { Link, LinkBuffer, LinkEvents, LinkPeer } from './link.ts';

/** How much may wait to be written, in bytes. */
const HIGH = 2 * 1024 * 1024;

/** A sink as a link that only takes. */
export class SinkLink implements Link {
  readonly peer: LinkPeer;
  readonly #sink: Sink;
  #events: LinkEvents | null = null;
  #writing: Promise<void> = Promise.resolve();
  #outstanding = 0;
  #refused = false;
  #broken = false;

  constructor(sink: Sink) {
    this.#sink = sink;
    this.peer = { carrier: 'file', address: sink.name, identity: null, fingerprint: null };
  }

  start(_into: LinkBuffer, events: LinkEvents): void {
    this.#events = events;
  }

  write(head: Uint8Array, body: Uint8Array | null): number {
    if (this.#outstanding >= HIGH) {
      this.#refused = true;
      return 0;
    }
    const bytes = new Uint8Array(head.length + (body?.length ?? 0));
    bytes.set(head);
    if (body !== null) bytes.set(body, head.length);
    this.#outstanding += bytes.length;
    this.#writing = this.#writing.then(() => this.#write(bytes));
    return bytes.length;
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
    if (!this.#refused || this.#outstanding >= HIGH / 2) return;
    this.#refused = false;
    this.#events?.writable();
  }
}
