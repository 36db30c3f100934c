import type { Message, MessageKind, MessageOf } from '../channel/index.ts';
import type { RecordKind } from '../journal/index.ts';
import type { MigrationState } from '../states/index.ts';
import type { ConfigurationNeed, EndInspection, PrecopyEstimate } from './migration-end.ts';
import type { Phase } from './phase.ts';
import type { Survey } from './sender/convergence.ts';
import type { SideTimes } from './side-report.ts';
import type { StepError } from './step-error.ts';

/** Which end of the migration. */
export type EndName = 'source' | 'destination';

/** What the caller does around the blackout, in order; `resume` only when the source goes on after all. */
export type HookName = 'beforeStop' | 'resume' | 'beforeRun' | 'armInterrupts' | 'afterRun';

/** What a side decides durably. */
export type Decision = RecordKind;

/** What whoever recovers needs to know, for each device of the group. */
export interface DecisionFacts {
  /** With BEGIN: its guest is paused, and stays so. */
  readonly paused?: readonly boolean[];
  /** With READY: what was withheld and is due before it runs (bits of WithheldAction). */
  readonly actions?: readonly number[];
}

/** Something asked of one device of the group, by its number. */
export type DeviceRequest =
  | {
      readonly ask:
        | 'flags'
        | 'inspect'
        | 'configurationNeed'
        | 'state'
        | 'reset'
        | 'dataSize'
        | 'precopyInfo'
        | 'claim'
        | 'retire'
        | 'release';
      readonly device: number;
    }
  | { readonly ask: 'setState'; readonly device: number; readonly state: MigrationState }
  | { readonly ask: 'actions'; readonly device: number; readonly actions: number };

/** The answer to a {@link DeviceRequest}. */
export type DeviceAnswer =
  | { readonly is: 'done' }
  | { readonly is: 'failed'; readonly error: StepError }
  | { readonly is: 'flags'; readonly flags: bigint | null }
  | { readonly is: 'inspection'; readonly inspection: EndInspection }
  | { readonly is: 'need'; readonly need: ConfigurationNeed | null }
  | { readonly is: 'state'; readonly state: number }
  | { readonly is: 'size'; readonly size: bigint | null }
  | { readonly is: 'estimate'; readonly estimate: PrecopyEstimate | null };

/** What of one device is to be copied. */
export interface CopyOrder {
  readonly device: number;
  /** Stop after about so many bytes; Infinity: only when it runs dry. */
  readonly limit: number;
}

/** One thing that a sequence wants done. The sequence itself touches neither sockets nor clocks. */
export type Step =
  | { readonly do: 'phase'; readonly phase: Phase }
  /** All at once; each is answered. */
  | { readonly do: 'ask'; readonly requests: readonly DeviceRequest[] }
  | { readonly do: 'hook'; readonly hook: HookName }
  | { readonly do: 'journal'; readonly decision: Decision; readonly facts: DecisionFacts }
  | { readonly do: 'send'; readonly message: Message }
  /** The next message, which has to be one of these. */
  | {
      readonly do: 'expect';
      readonly kinds: readonly MessageKind[];
      /** Wait as long as the channel lives. */
      readonly patient: boolean;
      /** Pass over other messages. */
      readonly skip: boolean;
    }
  /** Source: move data. */
  | {
      readonly do: 'copy';
      readonly orders: readonly CopyOrder[];
      /** The round of PRE_COPY, from 1; 0: the devices have stopped. */
      readonly iteration: number;
      /** About how much there is, in bytes; null when nobody knows. */
      readonly rest: number | null;
      /** Give up when the blackout has lasted longer than the limit. */
      readonly withinLimit: boolean;
    }
  /** Source: guest memory begins to be watched, or stops to be. */
  | { readonly do: 'memory'; readonly what: 'start' | 'rest' | 'stop' }
  /** Source: read the configuration space of a device and send it. */
  | { readonly do: 'configuration'; readonly device: number; readonly withheld: number }
  /** Source: the totals of all devices, and so the end of the data. */
  | { readonly do: 'complete'; readonly group: string; readonly epoch: bigint }
  /** Source: what is measured and wanted now, with so many bytes left as far as known. */
  | { readonly do: 'survey'; readonly left: number | null }
  /** Source: wait as long as the caller wants the switch to wait. */
  | { readonly do: 'gate' }
  /** Destination: take data from now on. */
  | { readonly do: 'load' }
  /** Destination, recovering: give the devices, which are in RESUMING, what was kept. */
  | { readonly do: 'loadKept' }
  /** Destination: until everything that has arrived has been taken. */
  | { readonly do: 'drain' }
  /** Destination: what arrived is what the source says it sent; nothing more is taken. */
  | { readonly do: 'totals'; readonly totals: MessageOf<'COMPLETE'>['totals'] }
  /** Destination: how its devices came where they are, for the report. */
  | { readonly do: 'times' }
  /** The way to the other side, made anew. */
  | { readonly do: 'reconnect' };

/** What came of a `copy`. */
export interface Copied {
  /** Bytes that the other side has taken. */
  readonly bytes: number;
  /** Everything said 0: no more (for now). */
  readonly dry: boolean;
  /** How long it took, in milliseconds. */
  readonly ms: number;
}

/** What came of a step that succeeded. One that failed is thrown into the sequence. */
export type Reply =
  | { readonly kind: 'done' }
  | { readonly kind: 'answers'; readonly answers: readonly DeviceAnswer[] }
  | { readonly kind: 'message'; readonly message: Message }
  | { readonly kind: 'copied'; readonly copied: Copied }
  | { readonly kind: 'bytes'; readonly bytes: bigint }
  | { readonly kind: 'survey'; readonly survey: Survey; readonly holding: boolean }
  | { readonly kind: 'times'; readonly times: SideTimes };

/** A part of a sequence: yields steps, is given replies, returns a T. */
export type Sequence<T> = Generator<Step, T, Reply>;

/** Asks devices, all at once. The answers are in the order of the requests. */
export function* ask(requests: readonly DeviceRequest[]): Sequence<readonly DeviceAnswer[]> {
  if (requests.length === 0) return [];
  return (yield* perform({ do: 'ask', requests }, 'answers')).answers;
}

/** Lets the caller do its part. */
export function* hook(name: HookName): Sequence<void> {
  yield* perform({ do: 'hook', hook: name }, 'done');
}

/** Makes a decision durable. */
export function* journal(decision: Decision, facts: DecisionFacts = {}): Sequence<void> {
  yield* perform({ do: 'journal', decision, facts }, 'done');
}

/** Says something to the other side. */
export function* send(message: Message): Sequence<void> {
  yield* perform({ do: 'send', message }, 'done');
}

/** The next message of the other side, which has to be one of `kinds`. It has to come in time. */
export function expect<K extends MessageKind>(...kinds: readonly K[]): Sequence<MessageOf<K>> {
  return hear(kinds, { patient: false, skip: false });
}

/** The next message of one of these kinds, whatever else comes before it. */
export function find<K extends MessageKind>(...kinds: readonly K[]): Sequence<MessageOf<K>> {
  return hear(kinds, { patient: false, skip: true });
}

/** The next message, however long it takes: the other side decides when. */
export function listenFor<K extends MessageKind>(...kinds: readonly K[]): Sequence<MessageOf<K>> {
  return hear(kinds, { patient: true, skip: false });
}

function* hear<K extends MessageKind>(
  kinds: readonly K[],
  mode: { readonly patient: boolean; readonly skip: boolean },
): Sequence<MessageOf<K>> {
  const { message } = yield* perform({ do: 'expect', kinds, ...mode }, 'message');
  if (!isOneOf(message, kinds)) throw new TypeError(`${message.kind} came instead of ${kinds.join(' or ')}`);
  return message;
}

/** Carries out a step that has nothing to tell. */
export function* carryOut(step: Step): Sequence<void> {
  yield* perform(step, 'done');
}

/** Carries out a step that is answered with `kind`. */
export function* perform<K extends Reply['kind']>(
  step: Step,
  kind: K,
): Sequence<Extract<Reply, { kind: K }>> {
  const reply = yield step;
  if (!isReply(reply, kind)) throw new TypeError(`${step.do} was answered with ${reply.kind}`);
  return reply;
}

/** Whether a part of a sequence succeeds. */
export function* succeeds(work: Sequence<unknown>): Sequence<boolean> {
  try {
    yield* work;
    return true;
  } catch {
    return false;
  }
}

/** Carries out a sequence, step by step; a step that fails is thrown into it. */
export async function conduct<T>(sequence: Sequence<T>, run: (step: Step) => Promise<Reply>): Promise<T> {
  let turn = sequence.next();
  while (!turn.done) {
    let reply: Reply;
    try {
      reply = await run(turn.value);
    } catch (error) {
      turn = sequence.throw(error);
      continue;
    }
    turn = sequence.next(reply);
  }
  return turn.value;
}

function isReply<K extends Reply['kind']>(reply: Reply, kind: K): reply is Extract<Reply, { kind: K }> {
  return reply.kind === kind;
}

function isOneOf<K extends MessageKind>(message: Message, kinds: readonly K[]): message is MessageOf<K> {
  return kinds.some((kind) => kind === message.kind);
}
