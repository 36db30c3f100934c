import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import type { Running, Shell } from '../../cli/ferry.ts';

/** In milliseconds: far below what QEMU waits for an answer, 5 s; the machine has other things to do. */
export const LONGEST_PAUSE = 3_500;
/** A guest that does nothing for a second does not bring a situation about: so often it is tried. */
const MAX_TRIES = 5;

/** What was handed over of the connection to the VMM. */
interface Found {
  /** Whole messages that were received and not handled, and bytes of another. */
  readonly messages: number;
  readonly fragment: number;
  /** Bytes that were not sent; of these, the rest of a message. */
  readonly unsent: number;
  readonly rest: number;
  /** The VMM had not answered a DMA_READ or DMA_WRITE when the device was to come to rest. */
  readonly owed: boolean;
}

/** What the connection is in the middle of when a device is handed over (situations.js), and how that shows. */
const SITUATIONS = {
  clean: () => true,
  partial: ({ fragment }: Found) => fragment > 0,
  unhandled: ({ messages, fragment }: Found) => messages > 0 && fragment === 0,
  many: ({ messages, fragment }: Found) => messages > 0 && fragment === 0,
  noreply: ({ unsent, rest }: Found) => unsent >= HEADER && rest === 0,
  partreply: ({ rest }: Found) => rest > 0,
  /**
   * A hand-over waits for the answer. Not of serial, which has no DMA, and not where memory is mapped: nothing is asked for
   * by message there.
   */
  dmaread: ({ owed }: Found) => owed,
} as const;
/** What the connection of a device is in the middle of. */
export type Situation = keyof typeof SITUATIONS;
/** Those of a device that does not ask for memory by message. */
export const WITHOUT = ['clean', 'partial', 'unhandled', 'many', 'noreply', 'partreply'] as const;
/** Those of one that does. */
export const WITH_MESSAGE_DMA = [...WITHOUT, 'dmaread'] as const;
const HEADER = 16;
/** Each device begins with another one, so that a few hand-overs of three devices are in all of them. */
const OFFSET = 4;
let made = 0;
/** Bytes that were read of a message: of its header, all of that, and of what follows. */
const PARTS = [1, 7, 15, 16, 17, 20, 25];
const MODULE = fileURLToPath(new URL('./situations.js', import.meta.url));

/** A hand-over, and how long nobody answered; what a situation takes to come about does not count. */
export interface Passed {
  readonly situation: Situation | 'any';
  readonly reached: boolean;
  readonly ms: number;
}

/** A device that is served by one process after the other. */
export class PassedOn {
  readonly passed: Passed[] = [];
  readonly socketPath: string;
  readonly #shell: Shell;
  readonly #args: readonly string[];
  readonly #situations: readonly Situation[];
  #current: Running;
  #turn = OFFSET * made++;

  private constructor(
    shell: Shell,
    socketPath: string,
    { args, situations }: { readonly args: readonly string[]; readonly situations: readonly Situation[] },
  ) {
    this.#shell = shell;
    this.socketPath = socketPath;
    this.#args = [...args, '--pause-limit', `${LONGEST_PAUSE}`, '--json'];
    this.#situations = situations;
    this.#current = this.#start('--socket-path', socketPath);
  }

  /** Serves it for the first time; it will be handed over in these situations in turn. */
  static async serve(
    shell: Shell,
    socket: string,
    situations: readonly Situation[],
    ...args: readonly string[]
  ): Promise<PassedOn> {
    const device = new PassedOn(shell, shell.path(socket), { args, situations });
    await device.#current.sees('"listening"');
    return device;
  }

  /** The next process takes over, whatever is going on. */
  async handOver(): Promise<void> {
    this.passed.push({ situation: 'any', reached: true, ms: await this.#pass() });
  }

  /** The next process takes over in the next of the situations; what does not come about is tried again. */
  async handOverInTurn(): Promise<void> {
    const turn = this.#turn++;
    const situation = this.#situations[turn % this.#situations.length] ?? 'clean';
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const part = PARTS[(turn + tries) % PARTS.length] ?? 1;
      writeFileSync(this.#cue, situation === 'partial' ? `${situation} ${part}` : situation);
      const ms = await this.#pass();
      const reached = SITUATIONS[situation](this.#found());
      this.passed.push({ situation, reached, ms });
      if (reached) return;
    }
    throw new Error(`${this.socketPath}: "${situation}" did not come about`);
  }

  /** What the process that serves it now has complained of. */
  get complaints(): string {
    return this.#current.stderr();
  }

  /** The one before ends well. Returns for how many milliseconds nobody answered. */
  async #pass(): Promise<number> {
    const before = this.#current;
    const next = this.#start('--take-over', this.socketPath);
    await next.sees('"listening"');
    expect(await before.ended).toMatchObject({ status: 0, stderr: '' });
    const [, pause = ''] = /"pauseMs":([\d.]+)/.exec(next.stdout()) ?? [];
    this.#current = next;
    return Number(pause);
  }

  #start(...args: readonly string[]): Running {
    const environment = { FERRY_SITUATION: this.#cue };
    return this.#shell.startWith(MODULE, environment, ['serve', ...this.#args, ...args]);
  }

  /** The file that names the situation. */
  get #cue(): string {
    return `${this.socketPath}.situation`;
  }

  #found(): Found {
    const file = `${this.#cue}.found`;
    const found: Found = JSON.parse(readFileSync(file, 'utf8'));
    for (const path of [file, this.#cue]) rmSync(path);
    return found;
  }
}

/** A line for each situation: how often it came about and how often not, and the pauses. */
export function figuresOf(passed: readonly Passed[]): readonly string[] {
  return ['any', ...WITH_MESSAGE_DMA].flatMap((name) => told(name, passed));
}

function told(name: string, passed: readonly Passed[]): readonly string[] {
  const tried = passed.filter(({ situation }) => situation === name);
  const figures = tried.flatMap(({ reached, ms }) => (reached ? [ms] : [])).toSorted((a, b) => a - b);
  if (tried.length === 0) return [];
  const at = (share: number): string => (figures[Math.floor(share * (figures.length - 1))] ?? 0).toFixed(2);
  const missed = tried.length - figures.length;
  return [`  ${name}: ${figures.length} times, missed ${missed}; ${at(0.5)}, ${at(0)}, ${at(1)}`];
}
