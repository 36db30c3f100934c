import { chmodSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { check, loadNative, type WatchHandle } from '../../native/index.ts';
import { BufferPool } from '../buffer-pool.ts';

/** While nobody reads, QEMU is not let further ahead than this, in bytes. */
const AHEAD = 8 * 1024 * 1024;
/** While the VM is about to stop: what it writes until then would be sent again. */
const AHEAD_HELD = 256 * 1024;
/** When it stands still, all that is left of it has room, in bytes, though nobody reads yet. */
const AHEAD_STOPPED = 256 * 1024 * 1024;
/**
 * Anybody who gets into the directory, which is QEMU's and ours alone, may connect, whatever the umask: QEMU may have another
 * account.
 */
const MODE = 0o666;

/** What has arrived at once, as far as it was not taken. */
interface Piece {
  readonly buffer: Uint8Array;
  from: number;
  readonly to: number;
}

/** What QEMU sends, over a UNIX socket that it connects to. */
export class OutgoingStream {
  readonly path: string;
  readonly #pool = new BufferPool();
  readonly #native = loadNative();
  readonly #listener: number;
  #watch: WatchHandle | null = null;
  #socket: Socket | null = null;
  #pieces: Piece[] = [];
  #length = 0;
  #limit = AHEAD;
  #ended = false;
  #wake: (() => void) | null = null;

  /** Listens in a folder. @throws NativeError */
  constructor(folder: string) {
    this.path = join(folder, 'outgoing.sock');
    this.#listener = check(this.#native.listen(this.path, MODE, 1), 'listen', { path: this.path });
    chmodSync(this.path, MODE);
    this.#watch = check(
      this.#native.watchStart(this.#listener, () => this.#accept()),
      'watchStart',
    );
  }

  /** QEMU has closed it. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Bytes that have arrived and were not taken. */
  get waiting(): number {
    return this.#length;
  }

  /** QEMU is to send little for a moment, because the VM is about to stop. */
  hold(): void {
    this.#limit = AHEAD_HELD;
    if (this.#length >= this.#limit) this.#socket?.pause();
  }

  /** QEMU may send all that is left, because the VM stands still. */
  hurry(): void {
    this.#limit = AHEAD_STOPPED;
    this.#socket?.resume();
  }

  /**
   * The next piece of at most `most` bytes, valid until the next call; null when none comes in so many milliseconds, or
   * when there is no more.
   */
  async take(most: number, ms: number): Promise<Uint8Array | null> {
    this.#giveBack();
    if (this.#length === 0 && !this.#ended) await this.#arrival(ms);
    const [first] = this.#pieces;
    if (first === undefined) return null;
    const { buffer, from, to } = first;
    first.from = Math.min(to, from + most);
    this.#length -= first.from - from;
    if (this.#length < this.#limit / 2) this.#socket?.resume();
    return buffer.subarray(from, first.from);
  }

  /** Whoever waits for a piece does not any more: there is something else to do. */
  wake(): void {
    this.#wake?.();
  }

  /** Hangs up; QEMU's migration fails if it goes on. Idempotent. */
  close(): void {
    this.#stopListening();
    this.#socket?.destroy();
    this.#finish();
  }

  /** What was taken last has been used. */
  #giveBack(): void {
    const [first] = this.#pieces;
    if (first === undefined || first.from < first.to) return;
    this.#pieces.shift();
    this.#pool.give(first.buffer);
  }

  #accept(): void {
    const fd = this.#native.accept(this.#listener);
    if (fd < 0) return;
    this.#stopListening();
    const onread = {
      buffer: () => this.#pool.take(),
      callback: (length: number, buffer: Uint8Array) => this.#arrived(buffer, length),
    };
    // Not a literal: the types don't know that the constructor takes it too (lib/net.js).
    const options = { fd, onread };
    const socket = new Socket(options);
    socket.on('error', () => this.#finish());
    socket.on('close', () => this.#finish());
    socket.on('end', () => this.#finish());
    socket.resume();
    this.#socket = socket;
  }

  /** QEMU connects once. */
  #stopListening(): void {
    if (this.#watch === null) return;
    this.#native.watchClose(this.#watch);
    this.#native.close(this.#listener);
    this.#watch = null;
  }

  /** False: no more for now. */
  #arrived(buffer: Uint8Array, length: number): boolean {
    this.#pieces.push({ buffer, from: 0, to: length });
    this.#length += length;
    this.#wake?.();
    return this.#length < this.#limit;
  }

  #finish(): void {
    this.#ended = true;
    this.#wake?.();
  }

  #arrival(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
    });
  }
}
