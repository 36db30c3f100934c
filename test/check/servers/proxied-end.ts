import { viewOf } from '../../../src/check/wire/bytes.ts';
import { Errno } from '../../../src/errors/index.ts';
import { loadNative, type WatchHandle } from '../../../src/native/index.ts';

const native = loadNative();

const LARGEST = 8 * 1024 * 1024;

/** One message on its way, as bytes that may be changed. */
export interface Passing {
  readonly id: number;
  readonly command: number;
  readonly flags: number;
  readonly payload: Uint8Array;
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
}

/** Cuts what has come into messages; returns what is left. Fds go to the message that ends the read. */
export function cut(
  end: End,
  bytes: Uint8Array,
  fds: number[],
  take: (message: Passing) => void,
  impossible: (header: Passing, all: Uint8Array) => void,
): Uint8Array {
  end.held = end.held.length === 0 ? bytes : Buffer.concat([end.held, bytes]);
  end.heldFds.push(...fds);
  while (end.held.length >= 16) {
    const view = viewOf(end.held);
    const size = view.getUint32(4, true);
    const whole = size >= 16 && size <= LARGEST;
    if (whole && end.held.length < size) return end.held;
    const raw = end.held.subarray(0, whole ? size : 16);
    const last = end.held.length === raw.length;
    const message: Passing = {
      ...{ id: view.getUint16(0, true), command: view.getUint16(2, true), flags: view.getUint32(8, true) },
      ...{ payload: raw.subarray(16), bytes: raw, fds: last ? end.heldFds.splice(0) : [] },
    };
    if (!whole) {
      impossible(message, end.held);
      end.held = new Uint8Array();
      return end.held;
    }
    end.held = end.held.subarray(size);
    take(message);
    for (const fd of message.fds) native.close(fd);
  }
  return end.held;
}

/** What a read brings; it is copied out of it. */
const into = new Uint8Array(256 * 1024);
const received = new Int32Array(254);

/** One socket: reads what comes, sends all of what it is given, in time. */
export class End {
  held: Uint8Array = new Uint8Array();
  readonly heldFds: number[] = [];
  readonly #fd: number;
  readonly #watch: WatchHandle;
  readonly #outbox: { readonly bytes: Uint8Array; at: number; readonly fds: number[] }[] = [];
  #closed = false;

  constructor(fd: number, read: (bytes: Uint8Array, fds: number[]) => void, left: () => void) {
    this.#fd = fd;
    const watch = native.watchStart(fd, () => {
      const count = native.receive(fd, into, 0, into.length, received, 0);
      if (count === -Errno.EAGAIN) return;
      if (count > 0) read(into.slice(0, count), [...received.subarray(1, 1 + (received[0] ?? 0))]);
      else left();
    });
    if (typeof watch === 'number') throw new Error(`watch: ${watch}`);
    this.#watch = watch;
  }

  send(bytes: Uint8Array, fds: readonly number[]): void {
    if (this.#closed) return;
    this.#outbox.push({ bytes, at: 0, fds: fds.map((fd) => native.dup(fd)) });
    if (this.#outbox.length === 1) this.#flush();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    native.watchClose(this.#watch);
    native.close(this.#fd);
    for (const fd of [...this.heldFds, ...this.#outbox.flatMap(({ fds }) => fds)]) native.close(fd);
  }

  #flush(): void {
    for (let next = this.#outbox[0]; next !== undefined && !this.#closed; next = this.#outbox[0]) {
      const { bytes, at, fds } = next;
      const sent = native.send(
        this.#fd,
        bytes,
        at,
        bytes.length - at,
        null,
        0,
        0,
        at === 0 && fds.length > 0 ? fds : null,
      );
      if (sent === -Errno.EAGAIN) return void setImmediate(() => this.#flush());
      if (sent < 0) return;
      if (at === 0) for (const fd of fds.splice(0)) native.close(fd);
      next.at += sent;
      if (next.at === bytes.length) this.#outbox.shift();
    }
  }
}
