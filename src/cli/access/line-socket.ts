import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** No request is longer, in bytes: a path and a little. */
const MAX_LINE = 1024;
/** Whoever says nothing for so long is not waited for, in milliseconds. */
const IDLE_MS = 10_000;
const MAX_OPERATORS = 8;
/** No answer is longer, in bytes. */
const MAX_ANSWER = 64 * 1024;

/** A UNIX socket on which operators of the same user ask for something: a line of JSON each way. */
export class LineSocket {
  readonly #path: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  /**
   * `answer` gets a line and gives one, neither with its line feed; it does not throw, and may take its time. Who says
   * nothing for `idleMs` is disconnected.
   */
  constructor(path: string, answer: (line: string) => string | Promise<string>, idleMs = IDLE_MS) {
    this.#path = path;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      attend(socket, answer, idleMs);
    });
    this.#server.maxConnections = MAX_OPERATORS;
  }

  /** Listens, with mode 0600. Rejects with the system's error when the path can't be used. */
  async listen(): Promise<void> {
    // The socket is there with these rights from its first moment on.
    const mask = process.umask(0o177);
    const listening = new Promise<void>((resolve, reject) => {
      this.#server.on('error', reject);
      this.#server.listen(this.#path, resolve);
    });
    process.umask(mask);
    await listening;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    rmSync(this.#path, { force: true });
  }
}

function attend(socket: Socket, answer: (line: string) => string | Promise<string>, idleMs: number): void {
  let text = '';
  socket.setEncoding('utf8').setTimeout(idleMs, () => socket.destroy());
  socket.on('error', () => {});
  socket.on('data', (piece: string) => {
    const [line = '', ...rest] = (text + piece).split('\n');
    text = rest.length === 0 ? line : '';
    if (line.length > MAX_LINE || rest.length > 1) socket.destroy();
    else if (rest.length === 1) void say(socket, answer(line), idleMs);
  });
}

async function say(socket: Socket, answer: string | Promise<string>, idleMs: number): Promise<void> {
  // Who waits for an answer is not idle.
  socket.setTimeout(0);
  const line = await answer;
  socket.setTimeout(idleMs);
  if (!socket.destroyed) socket.write(`${line}\n`);
}

/**
 * Asks a line on such a socket and returns the answer, as JSON. Without one within `patienceMs` it rejects with what
 * `failure` makes of the reason.
 */
export function askLine(
  path: string,
  request: string,
  patienceMs: number,
  failure: (why: string) => Error,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let text = '';
    const fail = (why: string): void => {
      socket.destroy();
      reject(failure(why));
    };
    socket.setEncoding('utf8').setTimeout(patienceMs, () => fail(`nothing came for ${patienceMs} ms`));
    socket.on('error', (error) => fail(error.message));
    socket.on('close', () => fail('it hung up'));
    socket.on('data', (piece: string) => {
      text += piece;
      if (text.length > MAX_ANSWER) return fail('it says too much');
      if (!text.endsWith('\n')) return;
      try {
        resolve(JSON.parse(text));
      } catch (error) {
        return fail(String(error));
      }
      socket.destroy();
    });
    socket.write(`${request}\n`);
  });
}
