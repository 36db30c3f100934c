import { readSync, writeSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { check, type Native, type WatchHandle } from '../../../native/index.ts';

/** Bytes of one read; the kernel's buffer of a terminal has as many (N_TTY_BUF_SIZE). */
const CHUNK = 4096;
/** When a write is tried again that found no room, in milliseconds. */
const RETRY_MS = 5;
/** poll(2) event bit of a hang-up (poll.h). */
const POLLHUP = 0x10;

/**
 * The master of a pseudo-terminal as a stream, from an opening of its slave to the hang-up. What was sent before the
 * hang-up is read to its end; what can't be sent any more is lost. The streams of Node.js block their thread on a master
 * that nobody reads, and end at the first hang-up for good. The fd stays the caller's.
 */
export class MasterStream extends Duplex {
  readonly #native: Native;
  readonly #fd: number;
  readonly #set: Int32Array;
  #watch: WatchHandle | null = null;
  #retry: NodeJS.Timeout | null = null;

  constructor(native: Native, fd: number) {
    super({ highWaterMark: CHUNK, allowHalfOpen: false });
    this.#native = native;
    this.#fd = fd;
    this.#set = Int32Array.of(fd, 0, 0);
  }

  override _read(): void {
    this.#watch ??= check(
      this.#native.watchStart(this.#fd, () => this.#readable()),
      'watch',
      { fd: this.#fd },
    );
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const sent = this.#send(chunk);
    if (sent === chunk.length) return done();
    this.#retry = setTimeout(() => this._write(chunk.subarray(sent), _encoding, done), RETRY_MS);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#unwatch();
    if (this.#retry !== null) clearTimeout(this.#retry);
    done(error);
  }

  #readable(): void {
    const chunk = Buffer.allocUnsafe(CHUNK);
    const count = attempt(() => readSync(this.#fd, chunk));
    if (count === null) return;
    if (count > 0 && this.push(chunk.subarray(0, count))) return;
    this.#unwatch();
    if (count === 0) this.push(null);
  }

  /** How many bytes are gone: sent, or lost because nobody is there. */
  #send(chunk: Buffer): number {
    const hungUp = this.#native.poll(this.#set, 1, 0) > 0 && ((this.#set[2] ?? 0) & POLLHUP) !== 0;
    if (hungUp) return chunk.length;
    return attempt(() => writeSync(this.#fd, chunk)) ?? 0;
  }

  #unwatch(): void {
    if (this.#watch !== null) this.#native.watchClose(this.#watch);
    this.#watch = null;
  }
}

/** What a read or write moved; null when it would have to wait, 0 for anything else: a hang-up is EIO. */
function attempt(move: () => number): number | null {
  try {
    return move();
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EAGAIN' ? null : 0;
  }
}
