import type { Duplex } from 'node:stream';
import type { Link, LinkBuffer, LinkEvents, LinkPeer } from './link.ts';

/** From how much on that is not out yet the stream is full, and when it is no longer, in bytes. */
const HIGH = 2 * 1024 * 1024;
const LOW = HIGH / 2;
/** Buffers of this size are kept for the next write, and so many of them. */
const POOLED_SIZE = 1024 * 1024 + 1024;
const POOLED = 3;

/** A stream of Node, such as a TLS connection. It may keep what is written for a while, so that is copied. */
export class StreamLink implements Link {
  readonly peer: LinkPeer;
  readonly kind = 'stream';
  left = 0;
  readonly #stream: Duplex;
  readonly #pool: Buffer[] = [];
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
    const buffer = size <= POOLED_SIZE ? (this.#pool.pop() ?? Buffer.allocUnsafeSlow(POOLED_SIZE)) : null;
    const copy = (buffer ?? Buffer.allocUnsafeSlow(size)).subarray(0, size);
    copy.set(head);
    if (body !== null) copy.set(body, head.length);
    this.#outstanding += size;
    if (this.#outstanding >= HIGH) this.#full = true;
    this.#stream.write(copy, () => this.#written(size, buffer));
    return size;
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
      const { buffer, offset, room } = this.#into;
      if (room === 0) return this.#putBack(chunk.subarray(at));
      const count = Math.min(room, chunk.length - at);
      buffer.set(count === chunk.length ? chunk : chunk.subarray(at, at + count), offset);
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
