import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { VmError } from '../vm-error.ts';

/** While nobody reads, QEMU is not let further ahead than this, in bytes. */
const AHEAD = 8 * 1024 * 1024;
/** While QEMU is to stop, it has to be able to finish what it is at, in bytes: it looks up every 50 ms. */
const AHEAD_STOPPING = 256 * 1024 * 1024;

/** What QEMU sends, over a UNIX socket that it connects to. */
export class OutgoingStream {
  readonly path: string;
  readonly #server: Server;
  #socket: Socket | null = null;
  #pieces: Uint8Array[] = [];
  #length = 0;
  #limit = AHEAD;
  #ended = false;
  #wake: (() => void) | null = null;

  private constructor(path: string) {
    this.path = path;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** Listens in a folder. */
  static open(folder: string): Promise<OutgoingStream> {
    const stream = new OutgoingStream(join(folder, 'outgoing.sock'));
    return new Promise((resolve, reject) => {
      stream.#server.once('error', reject);
      stream.#server.listen(stream.path, () => resolve(stream));
    });
  }

  /** QEMU has closed it. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Bytes that have arrived and were not taken. */
  get waiting(): number {
    return this.#length;
  }

  /** QEMU may get further ahead, because it is to come to a stop. */
  hurry(): void {
    this.#limit = AHEAD_STOPPING;
    this.#socket?.resume();
  }

  /** The next piece of at most `most` bytes; null when none comes in so many milliseconds, or when there is no more. */
  async take(most: number, ms: number): Promise<Uint8Array | null> {
    if (this.#length === 0 && !this.#ended) await this.#arrival(ms);
    const [first] = this.#pieces;
    if (first === undefined) return null;
    const piece = first.subarray(0, most);
    if (piece.length === first.length) this.#pieces.shift();
    else this.#pieces[0] = first.subarray(most);
    this.#length -= piece.length;
    if (this.#length < this.#limit / 2) this.#socket?.resume();
    return piece;
  }

  /** Hangs up; QEMU's migration fails if it goes on. Idempotent. */
  close(): void {
    this.#server.close();
    this.#socket?.destroy();
    this.#finish();
  }

  #accept(socket: Socket): void {
    if (this.#socket !== null) {
      socket.destroy(new VmError('ERR_VM_PROTOCOL', 'QEMU has connected already'));
      return;
    }
    this.#socket = socket;
    this.#server.close();
    socket.on('error', () => this.#finish());
    socket.on('close', () => this.#finish());
    socket.on('end', () => this.#finish());
    socket.on('data', (piece: Uint8Array) => this.#arrived(piece));
  }

  #arrived(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#length += piece.length;
    if (this.#length >= this.#limit) this.#socket?.pause();
    this.#wake?.();
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
