import { Errno, type FerryError } from '../../src/errors/index.ts';
import { CONTROL_LENGTH, loadNative } from '../../src/native/index.ts';
import {
  Connection,
  type ConnectionHandler,
  EventLoopReactor,
  type IncomingMessage,
  type Reactor,
  type SocketBuffers,
} from '../../src/transport/index.ts';
import { RawClient } from '../helpers/raw-client.ts';

export const native = loadNative();

/** Two ends of a UNIX stream socket, non-blocking. */
export function socketpair(): [number, number] {
  const out = new Int32Array(2);
  const result = native.socketpair(out);
  if (result < 0) throw new Error(`socketpair: ${result}`);
  const [a = -1, b = -1] = out;
  return [a, b];
}

/** What a port is opened with; nothing is sent. */
export function buffers(rx: Uint8Array): SocketBuffers {
  return { rx, tx: new Uint8Array(8), fds: new Int32Array(8), control: new Int32Array(CONTROL_LENGTH) };
}

/** A handler that remembers everything, and answers as the test says. */
export class Recorder implements ConnectionHandler {
  readonly commands: {
    id: number;
    command: number;
    payload: Buffer;
    fds: readonly number[];
    noReply: boolean;
  }[] = [];
  readonly reasons: FerryError[] = [];
  readonly reports: FerryError[] = [];
  /** What to do with a command; true by default: nothing. */
  onCommand: (message: IncomingMessage) => boolean = () => true;

  command(message: IncomingMessage): boolean {
    const { id, command, fds, noReply } = message;
    this.commands.push({ id, command, payload: Buffer.from(message.payload()), fds: [...fds], noReply });
    return this.onCommand(message);
  }

  closed(reason: FerryError): void {
    this.reasons.push(reason);
  }

  report(error: FerryError): void {
    this.reports.push(error);
  }

  get ids(): number[] {
    return this.commands.map(({ id }) => id);
  }
}

/** A connection on one end of a socketpair; the other end is for the test. */
export function openConnection(options: { maxMessage?: number; reactor?: Reactor; handler?: Recorder } = {}) {
  const [fd, peer] = socketpair();
  const handler = options.handler ?? new Recorder();
  const reactor = options.reactor ?? new EventLoopReactor(native);
  const connection = new Connection({ native, reactor, fd, handler, maxMessage: options.maxMessage ?? 4096 });
  return { connection, handler, peer };
}

/** Answers a command with `payload`. */
export function reply(connection: Connection, message: IncomingMessage, payload: Uint8Array): boolean {
  const at = connection.reply(connection.ticket(message), payload.length);
  if (at >= 0) connection.out.bytes.set(payload, at);
  return true;
}

/** Sends all of `bytes` from a test, waiting where the socket is full. */
export function sendAll(fd: number, bytes: Uint8Array, fds: readonly number[] | null = null): void {
  for (let at = 0; at < bytes.length; ) {
    const sent = native.send(fd, bytes, at, bytes.length - at, null, 0, 0, at === 0 ? fds : null);
    if (sent === -Errno.EAGAIN) native.poll(Int32Array.of(fd, 4, 0), 1, 1000);
    else if (sent < 0) throw new Error(`send: errno ${-sent}`);
    else at += sent;
  }
}

/** Whatever the other end has sent so far; null at its end. The fds that came along are closed. */
export function receiveNow(fd: number): Buffer | null {
  const chunks: Buffer[] = [];
  const fds = new Int32Array(254);
  for (;;) {
    const chunk = Buffer.alloc(64 * 1024);
    const count = native.receive(fd, chunk, 0, chunk.length, fds, 0);
    for (const each of fds.subarray(1, 1 + (fds[0] ?? 0))) native.close(each);
    if (count === 0 && chunks.length === 0) return null;
    if (count <= 0) return Buffer.concat(chunks);
    chunks.push(chunk.subarray(0, count));
  }
}

export { until } from '../helpers/until.ts';

/** Lets the event loop turn for a while, for what should not happen. */
export function pause(ms = 20): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What the messages of these tests say; nothing in a connection depends on it. */
export const READ = 9;
export const WRITE = 10;
/** Header flags. */
export const NO_REPLY = 0x10;
export const REPLY = 1;
export const ERROR_REPLY = 0x21;

/** Makes connections for tests, and undoes everything afterwards. */
export class Bench {
  readonly #undo: (() => void)[] = [];

  /** Runs `step` at the end; what came last goes first. */
  later(step: () => void): void {
    this.#undo.push(step);
  }

  /** A connection whose other end is a client of bytes. */
  withClient(options: Parameters<typeof openConnection>[0] = {}) {
    const opened = openConnection(options);
    const client = new RawClient(opened.peer);
    this.later(() => {
      opened.connection.close();
      if (!client.closed) client.close();
      else native.close(client.fd);
    });
    return { ...opened, client };
  }

  /** A connection whose other end the test reads and writes by itself. */
  withPeer(options: Parameters<typeof openConnection>[0] = {}) {
    const opened = openConnection(options);
    this.later(() => {
      opened.connection.close();
      native.close(opened.peer);
    });
    return opened;
  }

  /** Undoes everything. */
  clear(): void {
    for (const step of this.#undo.splice(0).toReversed()) step();
  }

  /** Forgets what is to be undone: the test has done it. */
  forget(): void {
    this.#undo.length = 0;
  }
}

/** A small file of the kernel. */
export function memfd(): number {
  const fd = native.memfd('test', 4096, false);
  if (fd < 0) throw new Error(`memfd: ${fd}`);
  return fd;
}
