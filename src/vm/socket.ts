import { connect, type Socket } from 'node:net';
import { VmError } from './vm-error.ts';

/** Connects to a UNIX socket of a VMM; `what` is how errors call it. Rejects with VmError. */
export function connectTo(path: string, what: string, timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const fail = (why: string, cause?: unknown): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new VmError('ERR_VM_CONNECT', `${what} at ${path} can't be reached: ${why}`, { path }, cause));
    };
    const timer = setTimeout(() => fail(`no connection in ${timeoutMs} ms`), timeoutMs);
    const failed = (error: NodeJS.ErrnoException): void => fail(error.code ?? error.message, error);
    socket.once('error', failed);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', failed);
      resolve(socket);
    });
  });
}

/** What is done with a {@link VmmSocket}. */
export interface VmmSocketUser {
  /** What has arrived. What it throws, a VmError, ends the connection. */
  take(bytes: Uint8Array): void;
  /** The connection is over; nothing is taken any more. */
  ended(why: VmError): void;
  /** Why it is when the VMM has closed it. */
  gone(cause?: unknown): VmError;
}

/** A connection to a VMM, which ends once, with a reason. */
export class VmmSocket {
  readonly #socket: Socket;
  readonly #user: VmmSocketUser;
  #ended: VmError | null = null;
  #text = '';

  /** `socket` is this one's from now on. */
  constructor(socket: Socket, user: VmmSocketUser) {
    this.#socket = socket;
    this.#user = user;
    socket.on('data', (bytes: Uint8Array) => this.#receive(bytes));
    socket.on('error', (error) => this.end(user.gone(error)));
    socket.on('close', () => this.end(user.gone()));
  }

  /** Why it is over; null while it is not. */
  get ended(): VmError | null {
    return this.#ended;
  }

  /** What is written in one go is sent in one piece: the VMM's main loop wakes up once for it. */
  write(text: string): void {
    if (this.#text === '') queueMicrotask(() => this.#flush());
    this.#text += text;
  }

  /** Ends it. Idempotent. */
  end(why: VmError): void {
    if (this.#ended !== null) return;
    this.#ended = why;
    this.#socket.destroy();
    this.#user.ended(why);
  }

  #flush(): void {
    const text = this.#text;
    this.#text = '';
    if (this.#ended === null) this.#socket.write(text);
  }

  #receive(bytes: Uint8Array): void {
    try {
      this.#user.take(bytes);
    } catch (error) {
      if (!(error instanceof VmError)) throw error;
      this.end(error);
    }
  }
}
