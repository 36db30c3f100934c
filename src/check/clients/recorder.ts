import { type Header, isReply } from '../../protocol/index.ts';
import type { MigrationState } from '../../states/index.ts';
import type { Received } from '../wire/message-cutter.ts';
import { fdFacts } from './fd-facts.ts';
import type { Ended, FdFacts, Happening, Said } from './happening.ts';

/** As much of a payload as is kept, in bytes. */
const KEPT_PAYLOAD = 8192;
/** The most that is kept of one session: a client that talks without an end is not heard out. */
const MOST_HAPPENINGS = 200_000;

/** A message whose handling is still ahead, which decides in which state it met the device. */
export type SaidNow = { -readonly [K in keyof Said]: Said[K] };

/** Writes down what happens on one connection. */
export class Recorder {
  readonly #began = performance.now();
  readonly #happenings: Happening[] = [];

  /** Whether there is room for more. */
  get full(): boolean {
    return this.#happenings.length >= MOST_HAPPENINGS;
  }

  /** What has happened, in order. */
  get happenings(): readonly Happening[] {
    return this.#happenings;
  }

  /** A message of the client. */
  said({ header, payload, fds }: Received, state: MigrationState): SaidNow {
    const facts: FdFacts[] = fds.map((fd) => fdFacts(fd));
    const kept = payload.slice(0, KEPT_PAYLOAD);
    const said: SaidNow = {
      ...{ kind: 'said', at: this.#now(), header, payload: kept, length: payload.length, fds: facts },
      state,
    };
    this.#happenings.push(said);
    return said;
  }

  /** A message to the client. */
  told(header: Header, payload: Uint8Array, fault: string | null, to: Said | null): void {
    const kept = payload.slice(0, KEPT_PAYLOAD);
    this.#happenings.push({ kind: 'told', at: this.#now(), header, payload: kept, fault, to });
  }

  /** The end of the connection. */
  ended(by: Ended['by'], text: string): void {
    this.#happenings.push({ kind: 'ended', at: this.#now(), by, text });
  }

  #now(): number {
    return performance.now() - this.#began;
  }
}

/** Whether a message of the client answers one of ours. */
export function isAnswer({ header }: Said): boolean {
  return isReply(header.flags);
}
