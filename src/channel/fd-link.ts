import { errnoName, FerryError } from '../errors/index.ts';
import { CONTROL_LENGTH, type Native } from '../native/index.ts';
import { EventLoopReactor, type SocketPort } from '../transport/index.ts';
import type { Link, LinkBuffer, LinkEvents, LinkPeer } from './link.ts';

/** How many fds a hostile peer may pass in one message before the addon closes them by itself. */
const FD_ROOM = 4;

/** A UNIX or TCP socket that the addon serves: received where the reader wants it, sent from where the sender has it. */
export class FdLink implements Link {
  readonly peer: LinkPeer;
  readonly kind = 'fd';
  left = 0;
  /** The kernel says by what it takes. */
  readonly full = false;
  readonly staging = null;
  readonly #native: Native;
  readonly #reactor: EventLoopReactor;
  readonly #fd: number;
  readonly #fds = new Int32Array(FD_ROOM);
  #port: SocketPort | null = null;
  #destroyed = false;

  /** The fd belongs to the link from now on. */
  constructor(native: Native, fd: number, peer: LinkPeer) {
    this.#native = native;
    this.#reactor = new EventLoopReactor(native);
    this.#fd = fd;
    this.peer = peer;
  }

  start(into: LinkBuffer, events: LinkEvents): void {
    this.#port?.close();
    const control = new Int32Array(CONTROL_LENGTH);
    const buffers = { rx: into.buffer, tx: new Uint8Array(0), fds: this.#fds, control };
    const port = this.#reactor.open(this.#fd, buffers, {
      received: (result) => this.#received(result, into, port, events),
      writable: () => this.#writable(port, events),
    });
    port.expect(into.offset, into.room);
    this.#port = port;
  }

  write(head: Uint8Array, body: Uint8Array | null): number {
    if (this.#destroyed) return 0;
    const size = head.length + (body?.length ?? 0);
    const taken = this.#native.send(this.#fd, head, 0, head.length, body, 0, body?.length ?? 0, null);
    // An error shows itself to the receiving side as well, which reports it.
    if (taken < size) this.#port?.awaitWritable(true);
    if (taken <= 0) return 0;
    this.left += taken;
    return taken;
  }

  end(): void {
    this.destroy();
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#port?.close();
    this.#native.close(this.#fd);
  }

  #received(result: number, into: LinkBuffer, port: SocketPort, events: LinkEvents): void {
    if (this.#destroyed || port !== this.#port) return;
    const passed = this.#fds[0] ?? 0;
    for (let i = 1; i <= passed; i += 1) this.#native.close(this.#fds[i] ?? -1);
    if (result === 0) return events.ended();
    if (result < 0) return events.failed(new SocketFailure(-result));
    events.received(result);
    if (!this.#destroyed && port === this.#port) port.expect(into.offset, into.room);
  }

  #writable(port: SocketPort, events: LinkEvents): void {
    if (this.#destroyed || port !== this.#port) return;
    port.awaitWritable(false);
    events.writable();
  }
}

/** What the kernel says of a connection that broke. */
class SocketFailure extends FerryError {
  constructor(errno: number) {
    super('ERR_CHANNEL_CUT', errnoName(errno), { errno });
  }
}
