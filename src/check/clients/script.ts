import { Command, commandName } from '../../protocol/index.ts';

/** Which message of a client something is done at. */
export interface When {
  /** A command's number; null: any. */
  readonly command: number | null;
  /** The how manieth of these, from 1; null: each. */
  readonly nth: number | null;
}

/** What a server does instead of answering as it should. */
export type Deed =
  /** Answers after this many milliseconds; what comes meanwhile waits. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** Answers with an errno, and does nothing. */
  | { readonly kind: 'refuse'; readonly errno: number }
  /** Never answers. */
  | { readonly kind: 'silent' }
  /** Closes the connection instead of answering, or right after it. */
  | { readonly kind: 'disconnect'; readonly after: boolean }
  /** Answers with another id, and so answers nothing. */
  | { readonly kind: 'wrong-id' }
  /** Answers twice. */
  | { readonly kind: 'twice' }
  /** Answers with only so many bytes of payload. */
  | { readonly kind: 'short'; readonly bytes: number }
  /** Answers with more bytes than any reply may have. */
  | { readonly kind: 'oversized'; readonly bytes: number }
  /** Answers with a header that names this many bytes. */
  | { readonly kind: 'wrong-size'; readonly bytes: number }
  /** Answers, with bytes of the payload changed. */
  | { readonly kind: 'patch'; readonly at: number; readonly bytes: Uint8Array }
  /** Answers in pieces of so many bytes, with a pause between them. */
  | { readonly kind: 'pieces'; readonly bytes: number }
  /** Sends a command of its own first, then answers. */
  | { readonly kind: 'ask'; readonly ask: 'dma-read' | 'dma-write' | 'dma-outside' | 'unknown' };

/** A kind of {@link Deed}. */
export type DeedKind = Deed['kind'];

/** One step of a script. */
export interface Step {
  readonly when: When;
  readonly do: Deed;
}

/** How a server behaves: it answers as it should, but for these steps. */
export interface Behaviour {
  readonly name: string;
  /** What it does, as a sentence without a full stop. */
  readonly does: string;
  readonly steps: readonly Step[];
  /** What the server offers, where it differs from what it offers otherwise. */
  readonly offers?: Offers;
}

/** What a server of a script offers. */
export interface Offers {
  readonly maxMsgFds?: number;
  readonly maxDataXferSize?: number;
  /** The device is in STOP_COPY when the client connects, and most commands are refused until it runs. */
  readonly leftInStopCopy?: boolean;
}

/** At a command: the first time, or the one that is counted. */
export function at(command: number, nth: number | null = 1): When {
  return { command, nth };
}

/** At the how manieth message, whatever it is. */
export function atMessage(nth: number): When {
  return { command: null, nth };
}

/** Which deeds of a script are due at a message; counts the messages. One for each connection. */
export class ScriptCursor {
  readonly #steps: readonly Step[];
  readonly #counts = new Map<number | null, number>();

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
  }

  /** Counts a message with this command, and gives what is to be done at it. */
  next(command: number): Deed[] {
    for (const key of [command, null]) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    return this.#steps.filter(({ when }) => this.#isDue(when, command)).map((step) => step.do);
  }

  #isDue({ command, nth }: When, came: number): boolean {
    if (command !== null && command !== came) return false;
    return nth === null || this.#counts.get(command) === nth;
  }
}

/** A moment for people: `DEVICE_GET_INFO, the 2nd`. */
export function whenText({ command, nth }: When): string {
  const what = command === null ? 'message' : commandName(command);
  return nth === null ? `each ${what}` : `${what} ${nth}`;
}

/** The number of a command by its name; null when there is none. */
export function commandNumber(name: string): number | null {
  const known = Object.entries(Command).find(([each]) => each === name);
  return known === undefined ? null : known[1];
}
