import type { Header } from '../../protocol/index.ts';
import type { MigrationState } from '../../states/index.ts';
import type { Offers } from './script.ts';

/** What a descriptor turned out to be. */
export interface FdFacts {
  /** `memory`: a file that can be mapped; `eventfd`; `socket`; `other`. */
  readonly kind: 'memory' | 'eventfd' | 'socket' | 'other';
  /** Bytes of a file; null for what has no size. */
  readonly size: bigint | null;
}

/** A message of the client, and where the conversation was when it came. */
export interface Said {
  readonly kind: 'said';
  /** Milliseconds since the connection. */
  readonly at: number;
  readonly header: Header;
  /** The first bytes of the payload: enough for every fixed part and for what rules look at. */
  readonly payload: Uint8Array;
  /** Bytes of the whole payload. */
  readonly length: number;
  readonly fds: readonly FdFacts[];
  /** The migration state of the device. */
  readonly state: MigrationState;
}

/** A message to the client. */
export interface Told {
  readonly kind: 'told';
  readonly at: number;
  readonly header: Header;
  readonly payload: Uint8Array;
  /** What was wrong with it on purpose; null: nothing. */
  readonly fault: string | null;
  /** The message that it answers, or was to answer; null: a command of the server. */
  readonly to: Said | null;
}

/** The end of the connection. */
export interface Ended {
  readonly kind: 'ended';
  readonly at: number;
  readonly by: 'client' | 'server';
  readonly text: string;
}

/** One thing in a session, in the order in which they happened. */
export type Happening = Said | Told | Ended;

/** Everything that happened on one connection of a client. */
export interface Session {
  /** The behaviour that the server showed. */
  readonly behaviour: string;
  /** What it does, as a sentence without a full stop. */
  readonly does: string;
  /** What it offered, where that differs from what the model offers. */
  readonly offers: Offers;
  readonly happenings: readonly Happening[];
  /** Bytes that no message could be cut from, as the client's header had them; null: there were none. */
  readonly impossible: number | null;
  /** How often the client connected again while this was going on. */
  readonly reconnections: number;
  /** How the client's process ended meanwhile: `status 0`, `SIGSEGV`; null: it has not, or is not known. */
  readonly exit: string | null;
}

/** The messages of the client. */
export function saidIn({ happenings }: Session): Said[] {
  return happenings.filter((one): one is Said => one.kind === 'said');
}

/** The messages to the client. */
export function toldIn({ happenings }: Session): Told[] {
  return happenings.filter((one): one is Told => one.kind === 'told');
}

/** The end, if there was one. */
export function endOf({ happenings }: Session): Ended | null {
  return happenings.find((one): one is Ended => one.kind === 'ended') ?? null;
}

/** The client's process ended by itself and with it the connection: what is missing then is not what it refused to say. */
export function endedItself(session: Session): boolean {
  return session.exit !== null && endOf(session)?.by === 'client';
}

/** The reply that a message got; null: none. */
export function replyTo(session: Session, said: Said): Told | null {
  return toldIn(session).find(({ to }) => to === said) ?? null;
}
