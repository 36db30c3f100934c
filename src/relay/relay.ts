import { Errno } from '../errors/index.ts';
import { CONTROL_LENGTH, check, type Native } from '../native/index.ts';
import { MAX_FDS_PER_MESSAGE } from '../protocol/index.ts';
import type { Closeable, Reactor, SocketPort } from '../transport/index.ts';
import { Flow, READ_SIZE } from './flow.ts';
import type { FlowEnd, RelayTap } from './relay-tap.ts';
import { across, type Side } from './side.ts';
import { DEFAULT_SPIN_US, Spin, type Watched } from './spin.ts';

/** What a relay is made of. */
export interface RelayOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  /** The connected, non-blocking UNIX stream socket whose other end is the client. The relay closes it. */
  readonly client: number;
  /** The same towards the server. */
  readonly server: number;
  readonly tap?: RelayTap | null;
  /** How long to look for the answer to what was passed on before sleeping, in microseconds; 0 never does. */
  readonly spinMicroseconds?: number;
  /** Both directions have come to their end, or {@link Relay.close} was called; both sockets are closed. Called once. */
  readonly ended?: () => void;
}

/** What has passed in one direction. */
export interface FlowTotals {
  readonly bytes: number;
  readonly fds: number;
  /** Whether it has been a stream of messages so far, whatever is in them. */
  readonly understood: boolean;
  /** How it came to its end; null while it goes on. */
  readonly end: FlowEnd | null;
}

/** Unsent bytes that the kernel keeps for a slow reader, so that a large message takes few turns. */
const SEND_BUFFER = 4 * 1024 * 1024;

/** How long one connection may keep the thread to itself, in milliseconds. */
const BUDGET_MS = 0.5;

/** poll(2): the peer has closed altogether, not only its output. */
const POLLHUP = 16;

/**
 * Joins two sockets: every byte and every fd that arrives from one goes to the other as it came, also what is no
 * message. A side that does not read stops the other; a side that ends its output, or ends, does so for the other.
 *
 * What a peer can tell from a direct connection: the process behind the socket (SO_PEERCRED) is the relay's.
 */
export class Relay implements Closeable {
  readonly #native: Native;
  readonly #tap: RelayTap | null;
  readonly #ended: () => void;
  readonly #sockets: Readonly<Record<Side, number>>;
  /** By the side that sends. */
  readonly #flows: Readonly<Record<Side, Flow>>;
  readonly #ports = new Map<Side, SocketPort>();
  readonly #fds: Readonly<Record<Side, Int32Array>>;
  readonly #spin: Spin;
  readonly #watched: Readonly<Record<Side, Watched>>;
  /** What comes is being passed on: an answer may be waited for a little. */
  #busy = false;
  /** The sides of whose end the tap has been told. */
  readonly #told = new Set<Side>();
  #closed = false;

  /** @throws NativeError when the reactor does not take the sockets; both are closed then */
  constructor(options: RelayOptions) {
    const { native, reactor, client, server, tap = null, ended = () => {} } = options;
    this.#native = native;
    this.#tap = tap;
    this.#ended = ended;
    this.#sockets = { client, server };
    this.#flows = { client: new Flow(native, client, server), server: new Flow(native, server, client) };
    this.#fds = { client: fdArray(), server: fdArray() };
    this.#watched = { client: this.#watch('client'), server: this.#watch('server') };
    this.#spin = new Spin(options.spinMicroseconds ?? DEFAULT_SPIN_US);
    try {
      for (const side of ['client', 'server'] as const) this.#open(reactor, side);
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  /** What has passed from `side`. */
  totals(side: Side): FlowTotals {
    const { bytes, fdCount, understood, end } = this.#flows[side];
    return { bytes, fds: fdCount, understood, end };
  }

  /** Ends both connections at once; what has not been passed on is lost. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#release();
    const now = performance.now();
    for (const side of ['client', 'server'] as const) {
      const flow = this.#flows[side];
      if (flow.end === null) this.#abandon(side, { kind: 'refused', errno: Errno.ECANCELED }, now);
      else flow.releaseFds();
    }
    this.#ended();
  }

  /** What can be received from `side` without waiting. */
  #watch(side: Side): Watched {
    const [fd, { buffer }, fds] = [this.#sockets[side], this.#flows[side], this.#fds[side]];
    return { look: () => this.#native.receive(fd, buffer, 0, READ_SIZE, fds, 0) };
  }

  #open(reactor: Reactor, side: Side): void {
    const fd = this.#sockets[side];
    check(this.#native.setSendBuffer(fd, SEND_BUFFER), 'setSendBuffer', { fd });
    const port = reactor.open(
      fd,
      {
        rx: this.#flows[side].buffer,
        tx: new Uint8Array(0),
        fds: this.#fds[side],
        control: new Int32Array(CONTROL_LENGTH),
      },
      { received: (result) => this.#received(side, result), writable: () => this.#writable(side) },
    );
    this.#ports.set(side, port);
    port.expect(0, READ_SIZE);
  }

  #received(side: Side, result: number): void {
    if (result <= 0) return this.#sourceEnded(side, result);
    this.#pass(side, result);
    if (!this.#busy) this.#follow(across(side));
  }

  /**
   * Looks for the answer to what was just passed on, and for what follows that, for as long as it comes soon: sleeping
   * and being woken up costs more than a message does.
   */
  #follow(first: Side): void {
    const end = performance.now() + BUDGET_MS;
    this.#busy = true;
    for (let side = first; !this.#closed && this.#flows[side].reading; side = across(side)) {
      const result = this.#spin.wait(this.#watched[side], end);
      if (result === -Errno.EAGAIN) break;
      this.#received(side, result);
    }
    this.#busy = false;
  }

  #pass(side: Side, length: number): void {
    const flow = this.#flows[side];
    const set = this.#fds[side];
    const count = set[0] ?? 0;
    const at = performance.now();
    const arrived = flow.pass(length, count === 0 ? NONE : Array.from(set.subarray(1, 1 + count)));
    this.#tap?.passed(side, flow.buffer.subarray(0, arrived), flow.passedFds, at);
    this.#settle(side, at);
  }

  /** The socket of `side` takes data again: what the other side has sent goes on. */
  #writable(side: Side): void {
    const sender = across(side);
    this.#flows[sender].send();
    this.#settle(sender, performance.now());
  }

  /** What follows when the flow from `side` has moved. */
  #settle(side: Side, at: number): void {
    const flow = this.#flows[side];
    flow.releaseFds();
    if (this.#closed) return;
    this.#ports.get(side)?.expect(0, flow.reading ? READ_SIZE : 0);
    this.#ports.get(across(side))?.awaitWritable(flow.waiting);
    if (flow.end !== null) this.#flowEnded(side, flow.end, at);
  }

  #sourceEnded(side: Side, result: number): void {
    const at = performance.now();
    // Bytes have come without all of their fds (message.c): nothing after that would be what was sent.
    if (result === -Errno.EMSGSIZE) {
      for (const each of ['client', 'server'] as const) {
        this.#abandon(each, { kind: 'lost', errno: Errno.EMSGSIZE }, at);
      }
      return;
    }
    const flow = this.#flows[side];
    flow.close(result === 0 ? { kind: 'end of stream' } : { kind: 'lost', errno: -result });
    this.#settle(side, at);
  }

  #flowEnded(side: Side, end: FlowEnd, at: number): void {
    if (this.#told.has(side)) return;
    this.#told.add(side);
    this.#tap?.ended(side, end, at);
    // Who has closed altogether reads nothing any more, so the other direction has nowhere to go.
    const other = across(side);
    if (this.#told.has(other)) this.close();
    else if (end.kind !== 'refused' && this.#gone(side)) this.#abandon(other, GONE, at);
  }

  #abandon(side: Side, end: FlowEnd, at: number): void {
    this.#flows[side].abandon(end);
    this.#flowEnded(side, end, at);
  }

  #gone(side: Side): boolean {
    const set = Int32Array.of(this.#sockets[side], 0, 0);
    return this.#native.poll(set, 1, 0) > 0 && ((set[2] ?? 0) & POLLHUP) !== 0;
  }

  #release(): void {
    this.#closed = true;
    for (const port of this.#ports.values()) port.close();
    for (const fd of Object.values(this.#sockets)) this.#native.close(fd);
  }
}

const NONE: readonly number[] = [];
const GONE: FlowEnd = { kind: 'refused', errno: Errno.EPIPE };

function fdArray(): Int32Array {
  return new Int32Array(1 + MAX_FDS_PER_MESSAGE);
}
