import type { Readable, Writable } from 'node:stream';
import { READY } from './initramfs.ts';

/** What a command has left behind. */
export interface Result {
  readonly status: number;
  /** Both outputs, without the last line feed. */
  readonly output: string;
}

const PANIC = 'Kernel panic';
/** Characters of the console that an error shows. */
const TAIL = 3000;

/**
 * The serial console of a guest. The host writes `<id> <command>`; the guest runs it and writes what it prints, and
 * then the line `@<id> <status>`. One command at a time.
 */
export class Console {
  readonly #input: Writable;
  /** Everything that the guest has written. */
  #text = '';
  /** Where the next answer begins. */
  #position = 0;
  #ended: string | null = null;
  #nextId = 1;
  #wake: () => void = () => {};

  constructor(input: Writable, output: Readable) {
    this.#input = input;
    // What is written to a QEMU that has ended is of no interest: `end` says so.
    input.on('error', () => {});
    output.setEncoding('latin1');
    output.on('data', (text: string) => {
      this.#text += text;
      this.#wake();
    });
  }

  /** There will be no more; `reason` is for who waits. */
  end(reason: string): void {
    this.#ended ??= reason;
    this.#wake();
  }

  /** Waits until the guest takes commands, again after a reboot. */
  async ready(timeoutMs: number): Promise<void> {
    await this.#find(new RegExp(`^${READY}\r?\n`, 'm'), timeoutMs, 'the guest to boot');
  }

  /** Runs a command of one line by the guest's shell. */
  async run(command: string, timeoutMs: number): Promise<Result> {
    const id = this.#nextId++;
    this.#input.write(`${id} ${command}\n`);
    const found = await this.#find(new RegExp(`\r?\n@${id} (\\d+)\r?\n`), timeoutMs, `"${command}"`);
    return { status: Number(found.match[1]), output: found.before.replaceAll('\r\n', '\n').trimEnd() };
  }

  /** Sends a command that the guest will not answer, such as a reboot. */
  send(command: string): void {
    this.#input.write(`${this.#nextId++} ${command}\n`);
  }

  /** The last of what the guest has written. */
  get tail(): string {
    return this.#text.slice(-TAIL);
  }

  async #find(pattern: RegExp, timeoutMs: number, what: string) {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const rest = this.#text.slice(this.#position);
      const match = pattern.exec(rest);
      if (match !== null) {
        this.#position += match.index + match[0].length;
        return { before: rest.slice(0, match.index), match };
      }
      const left = deadline - Date.now();
      if (rest.includes(PANIC)) throw this.#failure(`the kernel panicked while waiting for ${what}`);
      if (this.#ended !== null) throw this.#failure(`${this.#ended} while waiting for ${what}`);
      if (left <= 0) {
        // What is still running would answer the next command's question.
        this.end('the guest had stopped answering');
        throw this.#failure(`no answer within ${timeoutMs} ms: ${what}`);
      }
      await this.#arrival(left);
    }
  }

  #arrival(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #failure(message: string): Error {
    return new Error(`${message}\n--- console\n${this.tail}\n---`);
  }
}
