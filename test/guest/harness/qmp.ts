import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

interface Message {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
}

/** A connection to QEMU's monitor (docs/interop/qmp-spec.rst), for what a guest can't do to itself. */
export class Qmp {
  readonly #socket: Socket;
  readonly #messages: Message[] = [];
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => {});
    createInterface({ input: socket }).on('line', (line) => {
      this.#messages.push(JSON.parse(line));
      this.#wake();
    });
  }

  static async connect(path: string): Promise<Qmp> {
    const qmp = new Qmp(connect(path));
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  /** Executes a command; returns what it returns. Throws with QEMU's reason. */
  async execute(command: string, arguments_: object = {}): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: arguments_ })}\n`);
    const answer = await this.#next((message) => 'return' in message || 'error' in message, command);
    if (answer.error !== undefined) throw new Error(`${command}: ${answer.error.desc}`);
    return answer.return;
  }

  /** Waits for an event. */
  async event(name: string): Promise<void> {
    await this.#next(({ event }) => event === name, name);
  }

  close(): void {
    this.#socket.destroy();
  }

  async #next(fits: (message: Message) => boolean, what: string): Promise<Message> {
    const deadline = Date.now() + 20_000;
    for (;;) {
      const index = this.#messages.findIndex(fits);
      const [found] = index < 0 ? [] : this.#messages.splice(index, 1);
      if (found !== undefined) return found;
      if (Date.now() > deadline) throw new Error(`QEMU did not answer: ${what}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
