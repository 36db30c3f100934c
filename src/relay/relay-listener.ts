import { Errno, FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import { type Closeable, connect, listen, type Reactor } from '../transport/index.ts';
import { Relay } from './relay.ts';
import type { RelayTap } from './relay-tap.ts';

/** A connection that a listener relays. */
export interface RelayedConnection {
  /** Counts the connections of the listener, from 1. */
  readonly number: number;
  /** The process at the client's end, as the kernel knows it; null when it can't be told. */
  readonly client: { readonly pid: number; readonly uid: number; readonly gid: number } | null;
}

/** Where a listener listens, where it connects to, and who looks on. */
export interface RelayListenerOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  /** The path that clients connect to. */
  readonly listen: string;
  /** The path of the server that each of them gets a connection of its own to. */
  readonly connect: string;
  /** File mode of the socket; 0o600 by default. */
  readonly mode?: number;
  /** A client has connected; returns who looks on, or null. */
  readonly opened?: (connection: RelayedConnection) => RelayTap | null;
  /** The connection is over. */
  readonly closed?: (connection: RelayedConnection) => void;
  /** There is no server for a client, which has been disconnected. */
  readonly refused?: (error: FerryError) => void;
}

/** A server whose backlog is full is asked again after this time, in milliseconds. */
const RETRY_MS = 20;
/** How long it is asked, in milliseconds: as long as QEMU waits for a reply. */
const PATIENCE_MS = 5000;

/**
 * Relays everyone who connects to `listen`, several at a time, each over a connection of its own to `connect`, which is
 * made when the client comes. Closing ends all of them and removes the socket file.
 * @throws TransportError ERR_SOCKET_IN_USE, ERR_SOCKET_PATH, ERR_SOCKET
 */
export function relayListener(options: RelayListenerOptions): Closeable {
  const { native, reactor, listen: path, mode = 0o600 } = options;
  const open = new Set<Closeable>();
  let count = 0;
  const accepted = (client: number): void => {
    count += 1;
    const attempt = new Attempt(
      options,
      { number: count, client: credentials(native, client) },
      client,
      open,
    );
    attempt.start();
  };
  const listener = listen({ native, reactor, path, mode, accepted });
  return {
    close() {
      listener.close();
      for (const each of [...open]) each.close();
    },
  };
}

/** A client that waits for its connection to the server. */
class Attempt implements Closeable {
  readonly #options: RelayListenerOptions;
  readonly #connection: RelayedConnection;
  readonly #client: number;
  readonly #open: Set<Closeable>;
  readonly #since = performance.now();
  #timer: Closeable | null = null;

  constructor(
    options: RelayListenerOptions,
    connection: RelayedConnection,
    client: number,
    open: Set<Closeable>,
  ) {
    this.#options = options;
    this.#connection = connection;
    this.#client = client;
    this.#open = open;
  }

  start(): void {
    this.#open.add(this);
    this.#try();
  }

  close(): void {
    this.#timer?.close();
    this.#open.delete(this);
    this.#options.native.close(this.#client);
  }

  readonly #try = (): void => {
    const { native, reactor, connect: path } = this.#options;
    try {
      const server = connect(native, path);
      this.#open.delete(this);
      this.#relay(server);
    } catch (error) {
      if (!(error instanceof FerryError)) throw error;
      const busy = error.errno === Errno.EAGAIN && performance.now() - this.#since < PATIENCE_MS;
      if (busy) this.#timer = reactor.after(RETRY_MS, this.#try);
      else this.#refuse(error);
    }
  };

  #relay(server: number): void {
    const { native, reactor, opened, closed } = this.#options;
    const connection = this.#connection;
    const tap = opened?.(connection) ?? null;
    const relay: Relay = new Relay({
      ...{ native, reactor, client: this.#client, server, tap },
      ended: () => {
        this.#open.delete(relay);
        closed?.(connection);
      },
    });
    this.#open.add(relay);
  }

  #refuse(error: FerryError): void {
    this.close();
    this.#options.refused?.(error);
  }
}

function credentials(native: Native, fd: number): RelayedConnection['client'] {
  const out = new Int32Array(3);
  if (native.peerCredentials(fd, out) < 0) return null;
  const [pid = 0, uid = 0, gid = 0] = out;
  return { pid, uid, gid };
}
