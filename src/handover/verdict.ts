import { check, type Native } from '../native/index.ts';

/**
 * Who has the device, in one word of memory that both processes have mapped. Each change is a single atomic step, so that
 * they never disagree, whatever became of a message and whoever was stopped or killed between two of them.
 */
export const Verdict = {
  /** The old process has it, and the new one may take it as soon as it has everything. */
  OPEN: 0,
  /** The old process keeps it, whatever the new one is told or not told. */
  KEPT: 1,
  /** The new process has it, whatever the old one has noticed of that. */
  TAKEN: 2,
} as const;

/** One of {@link Verdict}. */
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

const SIZE = 4096;
const READ_WRITE = 3;

/** The word. */
export class VerdictWord {
  readonly fd: number;
  readonly #native: Native;
  readonly #buffer: ArrayBuffer;
  readonly #word: Int32Array;

  /** Maps the word; the fd is its from now on. */
  private constructor(native: Native, fd: number) {
    this.fd = fd;
    this.#native = native;
    try {
      this.#buffer = check(native.map(fd, 0, SIZE, READ_WRITE), 'map', { fd });
    } catch (error) {
      native.close(fd);
      throw error;
    }
    this.#word = new Int32Array(this.#buffer, 0, 1);
  }

  /** A new one, OPEN. */
  static create(native: Native): VerdictWord {
    return new VerdictWord(native, check(native.memfd('ferry-verdict', SIZE, true), 'memfd'));
  }

  /** The one that another process has created. Throws NativeError for what is no such memory. */
  static open(native: Native, fd: number): VerdictWord {
    if (native.sealShrink(fd) < 0) native.guardMappings();
    return new VerdictWord(native, fd);
  }

  /** What it is now. */
  get value(): number {
    return Atomics.load(this.#word, 0);
  }

  /** Changes it, if it is `from`; whether it was. */
  change(from: Verdict, to: Verdict): boolean {
    return Atomics.compareExchange(this.#word, 0, from, to) === from;
  }

  /** Lets go of it. */
  close(): void {
    this.#native.unmap(this.#buffer);
    this.#native.close(this.fd);
  }
}
