import { HEADER_SIZE, Header, littleEndian } from '../../protocol/index.ts';
import type { Closeable, Reactor, SocketBuffers, SocketEvents, SocketPort } from '../../transport/index.ts';

/** The longest first message that is kept, in bytes; the largest VERSION that a client reads is shorter. */
const MAX_RECORDED = 64 * 1024;

/** A reactor that keeps the first message that arrives: a client checks the reply to VERSION, and forgets its bytes. */
export class RecordingReactor implements Reactor {
  readonly mode: Reactor['mode'];
  readonly #inner: Reactor;
  #recorded = Buffer.alloc(0);

  constructor(inner: Reactor) {
    this.mode = inner.mode;
    this.#inner = inner;
  }

  /** The first message as far as it has come: header and payload. */
  get first(): Uint8Array {
    if (this.#recorded.length < HEADER_SIZE) return this.#recorded;
    const view = new DataView(this.#recorded.buffer, this.#recorded.byteOffset);
    return this.#recorded.subarray(0, view.getUint32(Header.at.size, littleEndian));
  }

  open(fd: number, buffers: SocketBuffers, events: SocketEvents): SocketPort {
    let position = 0;
    const received = (result: number): void => {
      // What arrives is appended to the buffer until its first message is complete, and that is all that matters here.
      if (result > 0 && this.#recorded.length < MAX_RECORDED && position + result <= buffers.rx.length)
        this.#recorded = Buffer.concat([this.#recorded, buffers.rx.subarray(position, position + result)]);
      events.received(result);
    };
    const port = this.#inner.open(fd, buffers, { received, writable: () => events.writable() });
    return {
      expect: (offset, length) => {
        position = offset;
        port.expect(offset, length);
      },
      awaitWritable: (wanted) => port.awaitWritable(wanted),
      close: () => port.close(),
    };
  }

  watch(fd: number, readable: () => void): Closeable {
    return this.#inner.watch(fd, readable);
  }

  after(ms: number, run: () => void): Closeable {
    return this.#inner.after(ms, run);
  }

  every(ms: number, run: () => void): Closeable {
    return this.#inner.every(ms, run);
  }

  defer(job: () => void): void {
    this.#inner.defer(job);
  }
}
