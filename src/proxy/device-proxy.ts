import { FerryError } from '../errors/index.ts';
import { loadNative, type Native } from '../native/index.ts';
import { DEFAULT_SPIN_US, type RelayTap } from '../relay/index.ts';
import { type Closeable, EventLoopReactor, listen, type Reactor } from '../transport/index.ts';
import { Backend } from './backend.ts';
import { ProxyError } from './proxy-error.ts';
import { Session } from './session.ts';
import type { Loss } from './session-options.ts';
import { Swap } from './swap.ts';
import type { SwapReport } from './swap-steps.ts';

/** Where a proxy listens, and what it stands before. */
export interface ProxyOptions {
  /** The socket that a VMM connects to. */
  readonly listen: string;
  /** The server that is behind it at first. */
  readonly backend: string;
  /** File mode of the socket; 0o600 by default. */
  readonly socketMode?: number;
  /**
   * Leave regions mappable, and I/O descriptors to those who ask: the VMM then reaches the back end's memory past the
   * proxy, and no other one can take its place. False by default.
   */
  readonly mmap?: boolean;
  /** How long a VMM may be kept waiting by a swap or without a back end, in milliseconds; 4000 by default (QEMU: 5 s). */
  readonly holdLimitMs?: number;
  /** How long one answer of a back end to the proxy itself may take, in milliseconds; 2000 by default. */
  readonly timeoutMs?: number;
  /** How long to look for the answer to a message before going to sleep, in microseconds; 20 by default, 0 never does. */
  readonly spinMicroseconds?: number;
  /** A VMM has connected; returns who sees what passes between it and the proxy, or null. */
  readonly opened?: () => RelayTap | null;
  /** Takes what no caller is there to be told: a back end that has gone, one that can't be reached. */
  readonly report?: (error: FerryError) => void;
  /** For tests. */
  readonly native?: Native;
  readonly reactor?: Reactor;
}

/** How a proxy is. Every value is JSON. */
export interface ProxyStatus {
  readonly listen: string;
  readonly backend: string;
  /** `serving`: a VMM and its back end; `no client`; `no back end`: the VMM is kept, and waits for another. */
  readonly state: 'serving' | 'swapping' | 'no client' | 'no back end';
  readonly mmap: boolean;
  /** Why no swap is possible now; null when one is. */
  readonly hindrance: string | null;
  readonly dmaMaps: number;
  readonly vectors: number;
  /** Commands of the VMM that wait. */
  readonly heldCommands: number;
  /** Posted writes of the VMM that were dropped for want of a back end. */
  readonly droppedWrites: number;
  /** How the last back end was lost; null when the present one is there. */
  readonly loss: Loss | null;
  readonly swaps: number;
  readonly lastSwap: SwapReport | null;
  /** Why the last swap failed; null when it did not. */
  readonly lastFailure: string | null;
}

/** A proxy that stands between one VMM and a server, and that can put another server in the place of that one. */
export class DeviceProxy implements Closeable {
  readonly #options: ProxyOptions;
  readonly #native: Native;
  readonly #reactor: Reactor;
  readonly #listener: Closeable;
  readonly #mmap: boolean;
  readonly #holdLimitMs: number;
  #path: string;
  #session: Session | null = null;
  #swapping = false;
  #swaps = 0;
  #loss: Loss | null = null;
  #lastSwap: SwapReport | null = null;
  #lastFailure: string | null = null;

  /** Listens. @throws TransportError ERR_SOCKET_IN_USE, ERR_SOCKET_PATH, ERR_SOCKET */
  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#native = options.native ?? loadNative();
    // A socket that is looked at for a while keeps the other one waiting, on which the answer comes.
    this.#reactor = options.reactor ?? new EventLoopReactor(this.#native, { spinMicroseconds: 0 });
    this.#path = options.backend;
    this.#mmap = options.mmap ?? false;
    this.#holdLimitMs = options.holdLimitMs ?? 4_000;
    this.#listener = listen({
      native: this.#native,
      reactor: this.#reactor,
      path: options.listen,
      mode: options.socketMode ?? 0o600,
      accepted: (fd) => this.#accept(fd),
    });
  }

  /** How it is now. */
  status(): ProxyStatus {
    const session = this.#present;
    return {
      listen: this.#options.listen,
      backend: this.#path,
      state: this.#stateOf(session),
      mmap: this.#mmap,
      hindrance: session?.record.hindrance ?? null,
      dmaMaps: session?.record.dma.entries.length ?? 0,
      vectors: session?.record.irqs.vectors ?? 0,
      heldCommands: session?.heldCommands ?? 0,
      droppedWrites: session?.droppedWrites ?? 0,
      loss: this.#loss,
      swaps: this.#swaps,
      lastSwap: this.#lastSwap,
      lastFailure: this.#lastFailure,
    };
  }

  /**
   * Puts the server at `path` in the place of the present back end; its device goes on with the state of the old one, or
   * with none if `fresh`. Without a VMM there is nothing to carry over: `path` is where the next one is connected to.
   * @throws ProxyError ERR_PROXY_BUSY, ERR_SWAP_REFUSED, ERR_SWAP_FAILED (the old one serves on), ERR_SWAP_STRANDED
   */
  async swap(path: string, fresh = false): Promise<SwapReport | null> {
    if (this.#swapping) throw new ProxyError('ERR_PROXY_BUSY', 'another swap is under way');
    const session = this.#present;
    if (session === null) return this.#redirect(path, fresh);
    this.#swapping = true;
    try {
      const { holdLimitMs, connect } = { holdLimitMs: this.#holdLimitMs, connect: this.#connector(session) };
      const report = await new Swap(session, { path, fresh, holdLimitMs, connect }).run();
      this.#path = path;
      this.#loss = null;
      this.#swaps += 1;
      this.#lastSwap = report;
      this.#lastFailure = null;
      return report;
    } catch (error) {
      this.#lastFailure = error instanceof Error ? error.message : String(error);
      throw error;
    } finally {
      this.#swapping = false;
    }
  }

  /** Ends the session and removes the socket. Idempotent. */
  close(): void {
    this.#listener.close();
    this.#session?.close();
    this.#session = null;
  }

  get #present(): Session | null {
    return this.#session?.closed === false ? this.#session : null;
  }

  #stateOf(session: Session | null): ProxyStatus['state'] {
    if (session === null) return 'no client';
    if (this.#swapping) return 'swapping';
    return session.backend === null ? 'no back end' : 'serving';
  }

  #redirect(path: string, fresh: boolean): null {
    if (!fresh) {
      const message =
        "the back end can't be swapped: no client is connected, so that nothing holds the device while its state is moved";
      throw new ProxyError('ERR_SWAP_REFUSED', message);
    }
    this.#path = path;
    this.#loss = null;
    return null;
  }

  #accept(fd: number): void {
    const present = this.#present;
    if (present?.hungUp === true) present.close();
    else if (present !== null) {
      this.#native.close(fd);
      return this.#report(
        new ProxyError('ERR_PROXY_BUSY', 'another client was turned away: there is one already'),
      );
    }
    try {
      this.#session = this.#open(fd);
    } catch (error) {
      if (!(error instanceof FerryError)) throw error;
      this.#report(error);
    }
  }

  #open(fd: number): Session {
    const { opened } = this.#options;
    this.#loss = null;
    return new Session(
      {
        ...{ native: this.#native, reactor: this.#reactor, fd, mmap: this.#mmap },
        holdLimitMs: this.#holdLimitMs,
        spinMicroseconds: this.#options.spinMicroseconds ?? DEFAULT_SPIN_US,
        tap: opened?.() ?? null,
        ended: () => {},
        lost: (loss) => {
          this.#loss = loss;
          this.#report(
            new ProxyError('ERR_BACKEND', `${loss.path} has gone: ${loss.reason}`, { path: loss.path }),
          );
        },
      },
      (session) => this.#connector(session)(this.#path),
    );
  }

  #connector(session: Session): (path: string) => Backend {
    return (path) =>
      new Backend({
        ...{ native: this.#native, reactor: this.#reactor, path },
        timeoutMs: this.#options.timeoutMs ?? 2_000,
        freeId: (isOurs) => session.freeId(isOurs),
        events: {
          message: (from, message) => session.fromBackend(from, message),
          handled: (backend) => session.backendHandled(backend),
          ended: (backend, reason) => session.backendEnded(backend, reason),
        },
      });
  }

  #report(error: FerryError): void {
    this.#options.report?.(error);
  }
}
