import type { Socket } from 'node:net';
import { connectTo, VmmSocket } from '../socket.ts';
import { VmError } from '../vm-error.ts';
import { encodeCommand, QmpDecoder, type QmpMessage } from './qmp-codec.ts';

/** How a monitor is spoken to. */
export interface QmpOptions {
  /** How long connecting and each answer may take, in milliseconds. */
  readonly timeoutMs: number;
}

/** Something a monitor told without being asked. */
export interface QmpEvent {
  readonly name: string;
  readonly data: unknown;
  /** When it happened, in milliseconds since 1970 by the clock of QEMU's host; null when it does not say. */
  readonly atMs: number | null;
}

/** Who waits for an answer. */
interface Waiter {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: VmError) => void;
  readonly timer: NodeJS.Timeout;
}

/** A connection to the monitor of a QEMU (QMP). Answers are matched by id; a late one is dropped. */
export class QmpClient {
  readonly path: string;
  readonly #socket: VmmSocket;
  readonly #timeoutMs: number;
  readonly #decoder = new QmpDecoder();
  readonly #waiting = new Map<number, Waiter>();
  #next = 1;
  #greeted: (() => void) | null = null;
  /** Told of each event. */
  onEvent: (event: QmpEvent) => void = () => {};
  /** When each event happened last. */
  readonly #times = new Map<string, number>();
  /** When each event was heard last (performance.now()). */
  readonly #heardAt = new Map<string, number>();
  /** Events that have come since somebody waited for one of that name. */
  readonly #unseen = new Set<string>();
  #awaited: { readonly event: string; readonly done: () => void } | null = null;

  private constructor(path: string, socket: Socket, { timeoutMs }: QmpOptions) {
    this.path = path;
    this.#timeoutMs = timeoutMs;
    this.#socket = new VmmSocket(socket, {
      take: (bytes) => {
        for (const message of this.#decoder.push(bytes)) this.#take(message);
      },
      ended: (why) => this.#rejectAll(why),
      gone: (cause) => gone(path, cause),
    });
  }

  /** Connects, waits for the greeting, and agrees on no capabilities. Rejects with VmError. */
  static async connect(path: string, options: QmpOptions): Promise<QmpClient> {
    const socket = await connectTo(path, 'the monitor', options.timeoutMs);
    const client = new QmpClient(path, socket, options);
    try {
      await client.#greeting();
      await client.execute('qmp_capabilities');
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Why the connection is over; null while it is not. */
  get closedBecause(): VmError | null {
    return this.#socket.ended;
  }

  /** When an event of that name happened last (see {@link QmpEvent}); null: none has, or it did not say. */
  timeOf(event: string): number | null {
    return this.#times.get(event) ?? null;
  }

  /** When an event of that name was heard last (performance.now()); null: none has. */
  heardAt(event: string): number | null {
    return this.#heardAt.get(event) ?? null;
  }

  /** Executes a command; what it returns. Rejects with VmError, ERR_VM_COMMAND with the reason of QEMU. */
  execute(command: string, args: object | null = null, timeoutMs = this.#timeoutMs): Promise<unknown> {
    const { ended } = this.#socket;
    if (ended !== null) return Promise.reject(ended);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(late(this.path, command, timeoutMs));
      }, timeoutMs);
      this.#waiting.set(id, { command, resolve, reject, timer });
      this.#socket.write(encodeCommand(id, command, args));
    });
  }

  /**
   * Until the monitor tells of an event, or has since it was last waited for, or the connection ends; at most so many
   * milliseconds. For one caller at a time.
   */
  next(event: string, ms: number): Promise<void> {
    if (this.#unseen.delete(event) || this.#socket.ended !== null) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#awaited = null;
        this.#unseen.delete(event);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#awaited = { event, done };
    });
  }

  /** Waits until the VMM has ended the connection. Rejects with VmError ERR_VM_TIMEOUT. */
  async ended(ms: number): Promise<void> {
    const deadline = performance.now() + ms;
    for (let left = ms; this.#socket.ended === null; left = deadline - performance.now()) {
      if (left <= 0) throw late(this.path, 'the end', ms);
      await this.next('', left);
    }
  }

  /** Ends the connection; the VMM goes on. Idempotent. */
  close(): void {
    this.#socket.end(new VmError('ERR_VM_GONE', `the connection to the monitor at ${this.path} was closed`));
  }

  #greeting(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(late(this.path, 'the greeting', this.#timeoutMs)),
        this.#timeoutMs,
      );
      const done = (): void => {
        clearTimeout(timer);
        this.#greeted = null;
        const { ended } = this.#socket;
        if (ended === null) resolve();
        else reject(ended);
      };
      this.#greeted = done;
      if (this.#socket.ended !== null) done();
    });
  }

  #take(message: QmpMessage): void {
    if (message.is === 'greeting') this.#greeted?.();
    else if (message.is === 'event') this.#heard(message);
    else this.#answer(message);
  }

  #heard({ name, data, atMs }: QmpEvent): void {
    if (atMs !== null) this.#times.set(name, atMs);
    this.#heardAt.set(name, performance.now());
    this.#unseen.add(name);
    if (this.#awaited?.event === name) this.#awaited.done();
    this.onEvent({ name, data, atMs });
  }

  #answer(message: Extract<QmpMessage, { is: 'return' | 'error' }>): void {
    const waiter = message.id === null ? undefined : this.#waiting.get(message.id);
    if (waiter === undefined || message.id === null) return;
    this.#waiting.delete(message.id);
    clearTimeout(waiter.timer);
    if (message.is === 'return') return waiter.resolve(message.value);
    const { kind, text } = message;
    waiter.reject(
      new VmError('ERR_VM_COMMAND', `${waiter.command}: ${text}`, { command: waiter.command, kind }),
    );
  }

  #rejectAll(why: VmError): void {
    this.#greeted?.();
    this.#awaited?.done();
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(why);
    }
    this.#waiting.clear();
  }
}

function gone(path: string, cause?: unknown): VmError {
  const text = `the monitor at ${path} has closed the connection: its QEMU has ended, or serves somebody else`;
  return new VmError('ERR_VM_GONE', text, { path }, cause);
}

function late(path: string, command: string, ms: number): VmError {
  const busy = 'a monitor serves one client at a time';
  const text = `the monitor at ${path} did not answer ${command} in ${ms} ms (${busy})`;
  return new VmError('ERR_VM_TIMEOUT', text, { path, command });
}
