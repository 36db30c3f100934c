import type { Possessions } from '../../../device/index.ts';
import type { SerialBackend } from '../../../devices/index.ts';
import { CONTROL_LENGTH, type Native } from '../../../native/index.ts';
import { type Listener, listen, listenOn, type Reactor, type SocketPort } from '../../../transport/index.ts';

/** Somebody who is connected to the line. */
interface Peer {
  readonly fd: number;
  readonly port: SocketPort;
  readonly bytes: Uint8Array;
  /** What they have sent and the guest has not taken is bytes[start...end]. */
  start: number;
  end: number;
  /** They send no more. */
  over: boolean;
}

const OWNER_ONLY = 0o600;
/** Bytes that are read ahead of the guest. */
const AHEAD = 4096;
/** Descriptors that somebody may send with a byte; they are closed. */
const NO_FDS = 1;

/**
 * The other end of a serial line at a UNIX socket: whoever connects, one at a time. While nobody is there, what the guest
 * sends is lost, as on a line that is not plugged in. Who takes nothing makes the guest wait. Nothing that the guest has
 * sent is kept here, so that another process can go on with the sockets.
 */
export class SocketLine implements SerialBackend {
  readonly #native: Native;
  readonly #reactor: Reactor;
  #listener: Listener | null = null;
  #peer: Peer | null = null;
  #ready = (): void => {};
  #frozen = false;

  constructor(native: Native, reactor: Reactor) {
    this.#native = native;
    this.#reactor = reactor;
  }

  /** Lets others connect. Throws TransportError. */
  listen(path: string): void {
    const { accepted } = this;
    const place = { native: this.#native, reactor: this.#reactor };
    this.#listener = listen({ ...place, path, mode: OWNER_ONLY, accepted });
  }

  write(bytes: Uint8Array): number {
    const peer = this.#peer;
    if (peer === null) return bytes.length;
    const sent = this.#native.send(peer.fd, bytes, 0, bytes.length, null, 0, 0, null);
    if (sent === bytes.length) return sent;
    const EAGAIN = -11;
    if (sent >= 0 || sent === EAGAIN) {
      peer.port.awaitWritable(true);
      return Math.max(0, sent);
    }
    this.#detach();
    return bytes.length;
  }

  read(target: Uint8Array): number {
    const peer = this.#peer;
    if (peer === null) return 0;
    const count = Math.min(target.length, peer.end - peer.start);
    target.set(peer.bytes.subarray(peer.start, peer.start + count));
    peer.start += count;
    if (peer.start === peer.end) this.#readMore(peer);
    return count;
  }

  onReady(ready: () => void): void {
    this.#ready = ready;
  }

  handOver(): Possessions {
    this.#frozen = true;
    this.#listener?.pause();
    this.#peer?.port.expect(0, 0);
    this.#peer?.port.awaitWritable(false);
    const listeners = this.#listener === null ? [] : [this.#listener.fd];
    const peers = this.#peer === null ? [] : [this.#peer.fd];
    const unread =
      this.#peer === null
        ? ''
        : Buffer.from(this.#peer.bytes.subarray(this.#peer.start, this.#peer.end)).toString('base64');
    const data = {
      path: this.#listener?.path ?? '',
      attached: this.#peer !== null,
      over: this.#peer?.over === true,
      unread,
    };
    return { data: Buffer.from(JSON.stringify(data)), fds: [...listeners, ...peers] };
  }

  takeOver({ data, fds }: Possessions): void {
    const { path, over, unread } = readData(data);
    const [listener, peer] = fds;
    this.#frozen = true;
    if (listener !== undefined) {
      const place = { native: this.#native, reactor: this.#reactor };
      this.#listener = listenOn({ ...place, fd: listener, path, accepted: this.accepted, paused: true });
    }
    if (peer === undefined) return;
    this.#attach(peer, unread);
    if (this.#peer !== null) this.#peer.over = over;
  }

  resume(): void {
    if (!this.#frozen) return;
    this.#frozen = false;
    this.#listener?.resume();
    const peer = this.#peer;
    if (peer === null) return;
    if (peer.start === peer.end) this.#readMore(peer);
  }

  /** Ends the line. */
  close(): void {
    this.#listener?.close();
    this.#detach();
  }

  /** Lets go of the line, with which another process goes on. */
  abandon(): void {
    this.#listener?.release();
    this.#detach();
  }

  /** A line has two ends: who comes while somebody is there sees the connection end. */
  readonly accepted = (fd: number): void => {
    if (this.#peer === null) this.#attach(fd, NOTHING);
    else this.#native.close(fd);
  };

  #attach(fd: number, unread: Uint8Array): void {
    const bytes = new Uint8Array(Math.max(AHEAD, unread.length));
    bytes.set(unread);
    const fds = new Int32Array(1 + NO_FDS);
    const port = this.#reactor.open(
      fd,
      { rx: bytes, tx: new Uint8Array(1), fds, control: new Int32Array(CONTROL_LENGTH) },
      { received: (result) => this.#received(result, fds), writable: () => this.#writable() },
    );
    this.#peer = { fd, port, bytes, start: 0, end: unread.length, over: false };
    if (this.#frozen || unread.length > 0) port.expect(0, 0);
    this.#ready();
  }

  #received(result: number, fds: Int32Array): void {
    const peer = this.#peer;
    for (const fd of fds.subarray(1, 1 + (fds[0] ?? 0))) this.#native.close(fd);
    if (peer === null) return;
    if (result <= 0) {
      peer.over = true;
      if (peer.start === peer.end) this.#detach();
      return;
    }
    peer.start = 0;
    peer.end = result;
    peer.port.expect(0, 0);
    this.#ready();
  }

  #readMore(peer: Peer): void {
    if (peer.over) this.#detach();
    else if (!this.#frozen) peer.port.expect(0, peer.bytes.length);
  }

  #writable(): void {
    this.#peer?.port.awaitWritable(false);
    this.#ready();
  }

  #detach(): void {
    const peer = this.#peer;
    if (peer === null) return;
    this.#peer = null;
    peer.port.close();
    this.#native.close(peer.fd);
    this.#ready();
  }
}

const NOTHING = new Uint8Array(0);

/** What {@link SocketLine.handOver} has written; a wrong one is an error of the process before. */
function readData(data: Uint8Array): {
  readonly path: string;
  readonly over: boolean;
  readonly unread: Uint8Array;
} {
  const parsed: unknown = JSON.parse(new TextDecoder().decode(data));
  if (typeof parsed !== 'object' || parsed === null) throw new TypeError('the line says nothing of itself');
  const fieldOf = (name: string): unknown => Reflect.get(parsed, name);
  return {
    path: String(fieldOf('path')),
    over: fieldOf('over') === true,
    unread: Buffer.from(String(fieldOf('unread')), 'base64'),
  };
}
