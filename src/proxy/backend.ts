import { errnoName, type FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import { commandName, MessageType } from '../protocol/index.ts';
import { type Closeable, connect, type IncomingMessage, type Reactor } from '../transport/index.ts';
import { Link } from './link.ts';
import { ProxyError } from './proxy-error.ts';

/** What a back end has answered to a request of the proxy's own. */
export interface BackendReply {
  /** 0, or the errno of a refusal. */
  readonly errno: number;
  readonly payload: Uint8Array;
}

/** Who is told what comes from a back end that the proxy has not asked for itself. */
export interface BackendEvents {
  message(from: Backend, message: IncomingMessage): void;
  handled(backend: Backend): void;
  ended(backend: Backend, reason: FerryError): void;
}

/** What a back end is made of. */
export interface BackendOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  readonly path: string;
  /** How long one answer to the proxy itself may take, in milliseconds. */
  readonly timeoutMs: number;
  /** A message id that no request of a client to this back end has, and that `isOurs` does not know either. */
  readonly freeId: (isOurs: (id: number) => boolean) => number;
  readonly events: BackendEvents;
}

interface Call {
  readonly command: number;
  /** Nobody waits for its answer any more. */
  readonly abandoned: boolean;
  readonly settle: (reply: BackendReply) => void;
  readonly fail: (error: FerryError) => void;
}

/** A server behind the proxy: a connection to it, over which the proxy can ask for things itself. */
export class Backend {
  readonly path: string;
  readonly link: Link;
  readonly #native: Native;
  readonly #reactor: Reactor;
  readonly #timeoutMs: number;
  readonly #freeId: BackendOptions['freeId'];
  readonly #calls = new Map<number, Call>();

  /** Connects. @throws TransportError ERR_SOCKET, ERR_SOCKET_PATH */
  constructor({ native, reactor, path, timeoutMs, freeId, events }: BackendOptions) {
    this.path = path;
    this.#native = native;
    this.#reactor = reactor;
    this.#timeoutMs = timeoutMs;
    this.#freeId = freeId;
    const fd = connect(native, path);
    this.link = new Link({
      ...{ native, reactor, fd },
      events: {
        message: (message) => {
          if (!this.#takes(message)) events.message(this, message);
        },
        handled: () => events.handled(this),
        ended: (reason) => {
          this.#failAll(reason);
          events.ended(this, reason);
        },
      },
    });
  }

  /** Whether a request of the proxy's own has this id and awaits its answer: a client's has to wait. */
  uses(id: number): boolean {
    return this.#calls.size > 0 && this.#calls.has(id) && this.#calls.get(id)?.abandoned === false;
  }

  /**
   * Asks for something, also while requests of a client are unanswered. `fds` stay the caller's. An answer that comes too
   * late is dropped.
   * @throws ProxyError ERR_BACKEND; TransportError when the connection ends
   */
  ask(command: number, payload: Uint8Array, fds: readonly number[] = []): Promise<BackendReply> {
    return new Promise((resolve, reject) => {
      if (this.link.closed) return reject(this.#gone(command));
      const id = this.#freeId((taken) => this.#calls.has(taken));
      const timer = this.#reactor.after(this.#timeoutMs, () => {
        // Its answer may still come, and is nobody else's.
        this.#calls.set(id, { command, abandoned: true, settle: () => {}, fail: () => {} });
        reject(this.#late(command));
      });
      this.#calls.set(id, call(command, timer, resolve, reject));
      const carried = fds.map((fd) => this.#native.dup(fd));
      this.link.send({ id, command, flags: MessageType.COMMAND }, payload, carried);
      this.link.flush();
    });
  }

  /** The same, where a refusal is an error as well. @throws ProxyError ERR_BACKEND */
  async require(command: number, payload: Uint8Array, fds: readonly number[] = []): Promise<Uint8Array> {
    const reply = await this.ask(command, payload, fds);
    if (reply.errno === 0) return reply.payload;
    throw this.refusal(command, reply.errno);
  }

  /** The error that a refusal with `errno` is. */
  refusal(command: number, errno: number): ProxyError {
    const what = `${this.path} refused ${commandName(command)}: ${errnoName(errno)}`;
    return new ProxyError('ERR_BACKEND', what, this.#context(command), { errno });
  }

  /** Ends the connection; what was asked fails. Idempotent. */
  close(): void {
    this.link.close();
    this.#failAll(this.#gone(0));
  }

  #takes(message: IncomingMessage): boolean {
    if (!message.isReply || this.#calls.size === 0) return false;
    const found = this.#calls.get(message.id);
    if (found === undefined || found.command !== message.command) return false;
    this.#calls.delete(message.id);
    const errno = message.failed ? message.error || 1 : 0;
    found.settle({ errno, payload: message.payload().slice() });
    return true;
  }

  #failAll(reason: FerryError): void {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const each of calls) each.fail(reason);
  }

  #gone(command: number): ProxyError {
    return new ProxyError('ERR_BACKEND', `${this.path} has gone`, this.#context(command));
  }

  #late(command: number): ProxyError {
    const what = `${this.path} did not answer ${commandName(command)} in time`;
    return new ProxyError('ERR_BACKEND', what, this.#context(command));
  }

  #context(command: number) {
    return { path: this.path, command: commandName(command) };
  }
}

function call(command: number, timer: Closeable, resolve: Call['settle'], reject: Call['fail']): Call {
  return {
    command,
    abandoned: false,
    settle: (reply) => {
      timer.close();
      resolve(reply);
    },
    fail: (error) => {
      timer.close();
      reject(error);
    },
  };
}
