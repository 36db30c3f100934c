import { check, type Native } from '../native/index.ts';
import type { Reactor } from '../transport/index.ts';
import { HandoverError } from './handover-error.ts';
import { untilNothing } from './waiting.ts';

/** Where messages to the service manager go, and how long it may take to answer. */
export interface ServiceManagerOptions {
  /** $NOTIFY_SOCKET: a path, or an abstract name behind `@`. */
  readonly path: string;
  /** For it to take a message, and to have dealt with it, in milliseconds. */
  readonly answerMs: number;
}

const NOTHING = new Uint8Array(0);
const EAGAIN = -11;

/** The manager that has started this process, as in sd_notify(3): a datagram for each message. */
export class ServiceManager {
  readonly #native: Native;
  readonly #reactor: Reactor;
  readonly #options: ServiceManagerOptions;

  constructor(native: Native, reactor: Reactor, options: ServiceManagerOptions) {
    this.#native = native;
    this.#reactor = reactor;
    this.#options = options;
  }

  /** Says something, such as READY=1, with fds that stay the caller's. Rejects with HandoverError, NativeError. */
  async notify(lines: readonly string[], fds: readonly number[] = []): Promise<void> {
    const { path, answerMs } = this.#options;
    const socket = check(this.#native.connectDatagram(path), 'connect', { path });
    const bytes = Buffer.from(lines.join('\n'));
    let result = EAGAIN;
    const refusal = (): string | null => {
      result = this.#native.send(socket, bytes, 0, bytes.length, NOTHING, 0, 0, fds.length > 0 ? fds : null);
      return result === EAGAIN ? 'the service manager takes no messages' : null;
    };
    try {
      await untilNothing(this.#reactor, refusal, answerMs);
      check(result, 'send', { path });
    } finally {
      this.#native.close(socket);
    }
  }

  /** Waits until it has dealt with all that was said before (BARRIER=1). Rejects with HandoverError when it does not. */
  async barrier(): Promise<void> {
    const pair = new Int32Array(2);
    check(this.#native.socketpair(pair), 'socketpair');
    const [ours = -1, theirs = -1] = pair;
    try {
      await this.notify(['BARRIER=1'], [theirs]).finally(() => this.#native.close(theirs));
      await this.#closed(ours);
    } finally {
      this.#native.close(ours);
    }
  }

  /** It closes the other end when it has come to that. */
  #closed(fd: number): Promise<void> {
    const { answerMs } = this.#options;
    return new Promise((resolve, reject) => {
      const watch = this.#reactor.watch(fd, () => end(resolve));
      const timer = this.#reactor.after(answerMs, () => end(() => reject(silent(answerMs))));
      const end = (settle: () => void): void => {
        watch.close();
        timer.close();
        settle();
      };
    });
  }
}

function silent(ms: number): HandoverError {
  return new HandoverError('ERR_HANDOVER_TIMEOUT', `the service manager does not answer within ${ms} ms`);
}
