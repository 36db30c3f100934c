import type { Duplex } from 'node:stream';
import type { Link, LinkBuffer, LinkEvents, LinkPeer, Staging } from './link.ts';

/** From how much on that is not out yet the stream is full, and when it is no longer, in bytes. */
const HIGH = 1024 * 1024;
const LOW = HIGH / 2;
/** Buffers of this size are kept for the next write, and so many of them. */
const POOLED_SIZE = 1024 * 1024 + 1024;
const POOLED = 2;
const NOTHING = new Uint8Array(0);

/** A stream of Node, such as a TLS connection. It may keep what is written for a while, so that is copied. */
export class StreamLink implements Link, Staging {
  readonly peer: LinkPeer;
  readonly kind = 'stream';
  readonly staging = this;
  left = 0;
  readonly #stream: Duplex;
  readonly #pool: Buffer[] = [];
  /** What was reserved, and the pooled buffer that it is part of. */
  #reserved: Uint8Array = NOTHING;
  #buffer: Buffer | null = null;
  #into: LinkBuffer | null = null;
  #events: LinkEvents | null = null;
  #outstanding = 0;
  #full = false;
  #ended = false;
  #destroyed = false;

  constructor(stream: Duplex, peer: LinkPeer) {
    this.peer = peer;
    this.#stream = stream;
    stream.on('error', (error) => this.#live?.failed(error));
    stream.on('end', () => this.#over());
    stream.on('close', () => this.#over());
  }

  get full(): boolean {
    return this.#full;
  }

  start(into: LinkBuffer, events: LinkEvents): void {
    const first = this.#into === null;
    this.#into = into;
    this.#events = events;
    if (first) this.#stream.on('data', (chunk: Uint8Array) => this.#received(chunk));
    this.#stream.resume();
    if (this.#ended) queueMicrotask(() => this.#live?.ended());
  }

  write(head: Uint8Array, body: Uint8Array | null): number {
    if (this.#destroyed) return 0;
    const size = head.length + (body?.length ?? 0);
    const room = this.reserve(size);
    room.set(head);
    if (body !== null) room.set(body, head.length);
    this.commit();
    return size;
  }

  reserve(size: number): Uint8Array {
    this.#buffer = size <= POOLED_SIZE ? (this.#pool.pop() ?? Buffer.allocUnsafeSlow(POOLED_SIZE)) : null;
    this.#reserved = (this.#buffer ?? Buffer.allocUnsafeSlow(size)).subarray(0, size);
    return this.#reserved;
  }

  commit(): void {
    if (this.#destroyed) return;
    const [bytes, buffer] = [this.#reserved, this.#buffer];
    this.#outstanding += bytes.length;
    if (this.#outstanding >= HIGH) this.#full = true;
    this.#stream.write(bytes, () => this.#written(bytes.length, buffer));
  }

  end(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#stream.end();
    // The other side may never read what is left.
    const timer = setTimeout(() => this.#stream.destroy(), LINGER_MS);
    this.#stream.once('close', () => clearTimeout(timer));
    this.#stream.once('finish', () => this.#stream.destroy());
  }

  destroy(): void {
    this.#destroyed = true;
    this.#stream.destroy();
  }

  /** Who to tell; null once the link is destroyed. */
  get #live(): LinkEvents | null {
    return this.#destroyed ? null : this.#events;
  }

  #over(): void {
    this.#ended = true;
    this.#live?.ended();
  }

  #received(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length && this.#into !== null; ) {
      const { room } = this.#into;
      if (room === 0) return this.#putBack(chunk.subarray(at));
      const count = Math.min(room, chunk.length - at);
      this.#into.put(count === chunk.length ? chunk : chunk.subarray(at, at + count));
      at += count;
      const live = this.#live;
      if (live === null) return;
      live.received(count);
    }
  }

  /** Nobody wants it before the next start. */
  #putBack(rest: Uint8Array): void {
    this.#stream.pause();
    this.#stream.unshift(rest);
  }

  #written(size: number, buffer: Buffer | null): void {
    this.#outstanding -= size;
    this.left += size;
    if (buffer !== null && this.#pool.length < POOLED) this.#pool.push(buffer);
    if (!this.#full || this.#outstanding > LOW) return;
    this.#full = false;
    this.#live?.writable();
  }
}

/** How long what is left may take to be sent after the end, in milliseconds. */
const LINGER_MS = 2000;
