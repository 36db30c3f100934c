import type { Guest } from './guest.ts';

/** How long the last repetition may take after it was told to end. */
const END_TIMEOUT = 100_000;
let count = 0;

/** A command that a guest repeats in the background until it fails or is told to end. */
export class Load {
  #guest: Guest;
  readonly #name: string;

  private constructor(guest: Guest, name: string) {
    this.#guest = guest;
    this.#name = name;
  }

  /**
   * Begins; the command is one line of shell, and so is what goes before the first repetition. $n counts repetitions;
   * the file $end exists as soon as there shall be no more.
   */
  static async start(guest: Guest, command: string, first = ':'): Promise<Load> {
    const name = `/tmp/load${++count}`;
    const repeat = `while ! test -e $end; do ${command} || { touch ${name}.failed; exit; }; n=$((n + 1)); printf . >> ${name}.count; done`;
    await guest.run(
      `( ( end=${name}.end; ${first}; n=0; : > ${name}.count; ${repeat} ) > ${name}.log 2>&1; touch ${name}.over ) &`,
    );
    return new Load(guest, name);
  }

  /** Lets the repetition that is under way end; gives how many there were. Throws with the output of one that failed. */
  async end(): Promise<number> {
    const name = this.#name;
    await this.#guest.run(
      `touch ${name}.end; until test -e ${name}.over; do usleep 20000; done`,
      END_TIMEOUT,
    );
    const { status } = await this.#guest.attempt(`test -e ${name}.failed`);
    if (status !== 0) return Number(await this.#guest.run(this.#count()));
    throw new Error(`the load failed:\n${await this.output()}`);
  }

  /** The guest goes on in another QEMU, and the load with it. */
  movedTo(guest: Guest): void {
    this.#guest = guest;
  }

  /** Waits until another repetition is complete. Returns as well when one has failed: see {@link end}. */
  async settle(): Promise<void> {
    const name = this.#name;
    await this.#guest.run(
      `n=$(${this.#count()}); until test -e ${name}.over || test $(${this.#count()}) -gt $n; do usleep 20000; done`,
    );
  }

  /** Prints how many repetitions are complete: a byte each, as a file that is only appended to never reads as empty. */
  #count(): string {
    return `stat -c %s ${this.#name}.count`;
  }

  /** The last of what it has printed. */
  output(): Promise<string> {
    return this.#guest.run(`tail -n 20 ${this.#name}.log`);
  }
}
