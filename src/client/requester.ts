import type { FerryError } from '../errors/index.ts';
import { commandName, HEADER_SIZE } from '../protocol/index.ts';
import {
  type Closeable,
  type Completion,
  type Connection,
  type Reactor,
  TransportError,
} from '../transport/index.ts';
import { ClientError } from './client-error.ts';
import type { Request, Settle } from './operation.ts';

/** A request that waits until the server takes more; null as completion: it is posted. */
interface Waiting {
  readonly request: Request;
  readonly complete: Completion | null;
  readonly begun: () => void;
  readonly failed: (error: FerryError) => void;
  readonly timer: Closeable;
}

/** What a {@link Requester} is made of. */
export interface RequesterOptions {
  readonly connection: Connection;
  readonly reactor: Reactor;
  /** How long to wait for room, and then for the reply, in milliseconds. */
  readonly timeoutMs: number;
  /** Longest message, header included, in bytes. */
  readonly maxMessage: number;
}

/** Requests in flight beyond which more wait; ids are 16 bits wide. */
const MAX_OUTSTANDING = 4096;

/**
 * Sends requests in the order in which they are submitted, also when the server does not take them for a while: then
 * they wait here, for a bounded time.
 */
export class Requester {
  readonly timeoutMs: number;
  readonly #connection: Connection;
  readonly #reactor: Reactor;
  readonly #maxMessage: number;
  readonly #waiting: Waiting[] = [];
  #expectsDrain = false;

  constructor(options: RequesterOptions) {
    this.#connection = options.connection;
    this.#reactor = options.reactor;
    this.timeoutMs = options.timeoutMs;
    this.#maxMessage = options.maxMessage;
  }

  /** Whether a small request can go straight to the connection without overtaking another. */
  get clear(): boolean {
    return this.#waiting.length === 0 && this.#connection.outstanding < MAX_OUTSTANDING;
  }

  /** Sends a request and calls `complete` once: with the reply, or with why there is none. */
  submit(request: Request, complete: Completion): void {
    const refusal = this.#refusal(request);
    if (refusal !== null) {
      complete(null, refusal);
    } else if (this.#canSend(request)) {
      this.#send(request, complete);
    } else {
      this.#wait(request, complete, nothing, (error) => complete(null, error));
    }
  }

  /** Posts requests: no reply will come. Settles when all are on their way. */
  post(requests: readonly Request[], settle: Settle<void>): void {
    let open = requests.length;
    let over = false;
    const begun = (): void => {
      open -= 1;
      if (open === 0 && !over) settle.resolve();
    };
    const failed = (error: FerryError): void => {
      if (!over) settle.reject(error);
      over = true;
    };
    if (open === 0) settle.resolve();
    for (const request of requests) this.#postOne(request, begun, failed);
  }

  #postOne(request: Request, begun: () => void, failed: (error: FerryError) => void): void {
    const refusal = this.#refusal(request);
    if (refusal !== null) {
      failed(refusal);
    } else if (this.#canSend(request)) {
      this.#send(request, null);
      begun();
    } else {
      this.#wait(request, null, begun, failed);
    }
  }

  #refusal(request: Request): FerryError | null {
    const closed = this.#connection.closedBecause;
    if (closed !== null) return closed;
    const size = HEADER_SIZE + sizeOf(request);
    if (size <= this.#maxMessage) return null;
    const command = commandName(request.command);
    return new ClientError('ERR_CLIENT_ARGUMENT', `${command}: a message of ${size} bytes is too long`, {
      command,
      size,
      limit: this.#maxMessage,
    });
  }

  #canSend(request: Request): boolean {
    return this.clear && this.#connection.hasRoom(sizeOf(request));
  }

  #send(request: Request, complete: Completion | null): void {
    const connection = this.#connection;
    const completion: Completion | null =
      complete === null
        ? null
        : (reply, error) => {
            complete(reply, error);
            if (this.#waiting.length > 0) this.#sendWaiting();
          };
    const at = connection.request(request.command, request.payload.length, this.timeoutMs, completion);
    connection.out.bytes.set(request.payload, at);
    if (request.fds !== undefined) connection.attachFds(request.fds);
    if (request.body !== undefined) connection.sendBody(request.body);
  }

  #wait(request: Request, complete: Completion | null, begun: () => void, failed: Waiting['failed']): void {
    const { body } = request;
    // Whoever gave the body may reuse it when the call returns.
    const kept = body === undefined ? request : { ...request, body: new Uint8Array(body) };
    const timer = this.#reactor.after(this.timeoutMs, () => {
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
      failed(notTaken(request));
    });
    const waiting: Waiting = { request: kept, complete, begun, failed, timer };
    this.#waiting.push(waiting);
    this.#expectDrain();
  }

  #expectDrain(): void {
    if (this.#expectsDrain) return;
    this.#expectsDrain = true;
    this.#connection.whenDrained(() => {
      this.#expectsDrain = false;
      this.#sendWaiting();
    });
  }

  #sendWaiting(): void {
    const connection = this.#connection;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const reason = connection.closedBecause;
      if (reason === null) {
        if (connection.outstanding >= MAX_OUTSTANDING) return;
        if (!connection.hasRoom(sizeOf(next.request))) return this.#expectDrain();
      }
      this.#waiting.shift();
      next.timer.close();
      if (reason !== null) {
        next.failed(reason);
      } else {
        this.#send(next.request, next.complete);
        next.begun();
      }
    }
  }
}

function sizeOf(request: Request): number {
  return request.payload.length + (request.body?.length ?? 0);
}

function nothing(): void {}

function notTaken(request: Request): TransportError {
  const command = commandName(request.command);
  return new TransportError('ERR_TIMEOUT', `the server did not take ${command} in time`, { command });
}
