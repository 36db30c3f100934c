import type { FerryError } from '../errors/index.ts';
import type { IncomingMessage } from './incoming-message.ts';
import type { Closeable, Reactor } from './reactor.ts';
import { TransportError } from './transport-error.ts';

/** Called once per request: with the reply (valid only until it returns), or with why there is none. */
export type Completion = (reply: IncomingMessage | null, error: FerryError | null) => void;

/** Message ids of one side's own requests. */
export interface UsedIds {
  readonly last: number;
  readonly abandoned: readonly number[];
}

interface Pending {
  readonly command: number;
  readonly deadline: number;
  readonly complete: Completion;
}

/** Requests in flight beyond which no more are taken: ids are 16 bits wide, and some must be left to choose from. */
const MAX_PENDING = 32 * 1024;
/** How many ids of abandoned requests are remembered, so that a late reply is not taken for another's. */
const MAX_ABANDONED = 1024;
/** How long after its deadline a request is given up: sockets are read meanwhile, in milliseconds. */
const LAST_LOOK_MS = 10;

/** The requests that one side has sent and that are not answered yet, by message id, each with its time-out. */
export class PendingRequests {
  readonly #reactor: Reactor;
  readonly #nameOf: (command: number) => string;
  readonly #pending = new Map<number, Pending>();
  readonly #abandoned = new Set<number>();
  #lastId = 0;
  #timer: Closeable | null = null;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor(reactor: Reactor, nameOf: (command: number) => string) {
    this.#reactor = reactor;
    this.#nameOf = nameOf;
  }

  /** Requests that wait for their reply. */
  get size(): number {
    return this.#pending.size;
  }

  /** Whether no more requests are taken until one is answered. */
  get full(): boolean {
    return this.#pending.size >= MAX_PENDING;
  }

  /** An id that no request in flight uses. Not to be called when {@link full}. */
  allocateId(): number {
    do this.#lastId = (this.#lastId + 1) & 0xffff;
    while (this.#pending.has(this.#lastId) || this.#abandoned.has(this.#lastId));
    return this.#lastId;
  }

  /** Which ids have been used: the last one, and those whose replies may still come although nobody waits for them. */
  usedIds(): UsedIds {
    return { last: this.#lastId, abandoned: [...this.#abandoned] };
  }

  /** Goes on where another has left the same connection. */
  adopt({ last, abandoned }: UsedIds): void {
    this.#lastId = last;
    for (const id of abandoned) this.#abandoned.add(id);
  }

  /** Waits for the reply to `id`, for at most `timeoutMs`. */
  add(id: number, command: number, timeoutMs: number, complete: Completion): void {
    const deadline = performance.now() + timeoutMs;
    this.#pending.set(id, { command, deadline, complete });
    if (deadline < this.#timerAt - 1) this.#arm(deadline);
  }

  /** Gives a reply to its request. Returns false when nobody asked for it. */
  resolve(reply: IncomingMessage): boolean {
    const pending = this.#pending.get(reply.id);
    if (pending === undefined) return this.#abandoned.delete(reply.id);
    this.#pending.delete(reply.id);
    if (pending.command === reply.command) {
      pending.complete(reply, null);
    } else {
      pending.complete(null, mismatch(this.#nameOf(pending.command), this.#nameOf(reply.command), reply.id));
    }
    return true;
  }

  /** Fails every request in flight. */
  failAll(error: FerryError): void {
    for (const pending of this.forget()) pending.complete(null, error);
  }

  /** Waits for nothing any more and tells nobody: a timer would keep the process from ending. Gives what was in flight. */
  forget(): readonly Pending[] {
    this.#timer?.close();
    this.#timer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const all = [...this.#pending.values()];
    this.#pending.clear();
    return all;
  }

  #arm(deadline: number): void {
    this.#timer?.close();
    this.#timerAt = deadline;
    this.#timer = this.#reactor.after(Math.max(1, deadline - performance.now()), () => this.#lookOnceMore());
  }

  /** A process that was kept from running is late itself: what has arrived meanwhile is read before anybody is blamed. */
  #lookOnceMore(): void {
    const due = performance.now() + 1;
    this.#timer = this.#reactor.after(LAST_LOOK_MS, () => this.#expire(due));
  }

  #expire(due: number): void {
    this.#timer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
    let next = Number.POSITIVE_INFINITY;
    for (const [id, pending] of [...this.#pending]) {
      // A completion may have failed the others, by closing the connection.
      if (this.#pending.get(id) !== pending) continue;
      if (pending.deadline > due) next = Math.min(next, pending.deadline);
      else this.#abandon(id, pending);
    }
    if (next < this.#timerAt) this.#arm(next);
  }

  #abandon(id: number, pending: Pending): void {
    this.#pending.delete(id);
    if (this.#abandoned.size >= MAX_ABANDONED) this.#abandoned.clear();
    this.#abandoned.add(id);
    const name = this.#nameOf(pending.command);
    pending.complete(
      null,
      new TransportError('ERR_TIMEOUT', `no reply to ${name} in time`, { command: name, id }),
    );
  }
}

function mismatch(asked: string, answered: string, id: number): TransportError {
  return new TransportError('ERR_FRAMING', `the reply to ${asked} says that it answers ${answered}`, {
    command: asked,
    id,
  });
}
