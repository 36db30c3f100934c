import type { MigrationState } from '../states/index.ts';
import type { EndInspection, PrecopyEstimate } from './migration-end.ts';
import type { Phase } from './phase.ts';

/** Which end of the migration. */
export type EndName = 'source' | 'destination';

/** How the two ends are called. */
export type EndNames = Readonly<Record<EndName, string>>;

/** What the caller does around the blackout. */
export type HookName = 'beforeStop' | 'beforeRun';

/** One thing that the sequence wants done. The sequence itself touches neither sockets nor clocks. */
export type Step =
  | { readonly do: 'phase'; readonly phase: Phase }
  | { readonly do: 'flags' | 'inspect' | 'state' | 'reset'; readonly end: EndName }
  | { readonly do: 'setState'; readonly end: EndName; readonly state: MigrationState }
  | { readonly do: 'dataSize' | 'precopyInfo'; readonly end: 'source' }
  | {
      readonly do: 'copy';
      readonly limit: number;
      readonly iteration: number;
      readonly remaining: number | null;
    }
  | { readonly do: 'hook'; readonly hook: HookName };

/** What came of a `copy`. */
export interface Copied {
  /** Bytes that the destination has taken. */
  readonly bytes: number;
  /** The source said 0: no more (for now). */
  readonly dry: boolean;
  /** How long it took, in milliseconds. */
  readonly ms: number;
}

/** What came of a step that succeeded. One that failed is thrown into the sequence. */
export type Reply =
  | { readonly kind: 'done' }
  | { readonly kind: 'flags'; readonly flags: bigint | null }
  | { readonly kind: 'inspection'; readonly inspection: EndInspection }
  | { readonly kind: 'state'; readonly state: number }
  | { readonly kind: 'size'; readonly size: bigint | null }
  | { readonly kind: 'estimate'; readonly estimate: PrecopyEstimate | null }
  | { readonly kind: 'copied'; readonly copied: Copied };

/** A part of the sequence: yields steps, is given replies, returns a T. */
export type Sequence<T> = Generator<Step, T, Reply>;

/** Sends the device at `end` to a state. */
export function* setState(end: EndName, state: MigrationState): Sequence<void> {
  yield* ask({ do: 'setState', end, state }, 'done');
}

/** The state of the device at `end`. */
export function* readState(end: EndName): Sequence<number> {
  return (yield* ask({ do: 'state', end }, 'state')).state;
}

/** The migration flags of the device at `end`; null when it can't migrate. */
export function* readFlags(end: EndName): Sequence<bigint | null> {
  return (yield* ask({ do: 'flags', end }, 'flags')).flags;
}

/** What `end` tells of itself. */
export function* inspect(end: EndName): Sequence<EndInspection> {
  return (yield* ask({ do: 'inspect', end }, 'inspection')).inspection;
}

/** Resets the device at `end`. */
export function* reset(end: EndName): Sequence<void> {
  yield* ask({ do: 'reset', end }, 'done');
}

/** About how much there is to move. */
export function* dataSize(): Sequence<bigint | null> {
  return (yield* ask({ do: 'dataSize', end: 'source' }, 'size')).size;
}

/** What is left to move in PRE_COPY. */
export function* precopyInfo(): Sequence<PrecopyEstimate | null> {
  return (yield* ask({ do: 'precopyInfo', end: 'source' }, 'estimate')).estimate;
}

/** Moves data until the source runs dry or about `limit` bytes have been moved. */
export function* copy(limit: number, iteration: number, remaining: number | null): Sequence<Copied> {
  return (yield* ask({ do: 'copy', limit, iteration, remaining }, 'copied')).copied;
}

/** Lets the caller do its part. */
export function* hook(name: HookName): Sequence<void> {
  yield* ask({ do: 'hook', hook: name }, 'done');
}

/** Says that a phase begins. */
export function* enterPhase(phase: Phase): Sequence<void> {
  yield* ask({ do: 'phase', phase }, 'done');
}

function* ask<K extends Reply['kind']>(step: Step, kind: K): Sequence<Extract<Reply, { kind: K }>> {
  const reply = yield step;
  if (!isReply(reply, kind)) throw new TypeError(`${step.do} was answered with ${reply.kind}`);
  return reply;
}

function isReply<K extends Reply['kind']>(reply: Reply, kind: K): reply is Extract<Reply, { kind: K }> {
  return reply.kind === kind;
}
