import type {
  ReconnectionChoice,
  ReconnectionStatus,
  SwitchoverRequest,
  SwitchoverStatus,
} from '../client/index.ts';
import type { MigrationState } from '../states/index.ts';

/** Addresses of the guest. */
export interface PhysicalRange {
  readonly address: bigint;
  readonly length: number;
}

/** What is to be where. */
export interface PhysicalWrite {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** What the server of a device is asked for. */
export interface SwitchoverOf {
  readonly device: number;
  readonly request: SwitchoverRequest;
}

/** What becomes of the state of a device when its VMM comes back; null: only asked. */
export interface ReconnectionOf {
  readonly device: number;
  readonly choice: ReconnectionChoice | null;
}

/** One thing that a sequence wants done with a VMM or with the devices of its VM. */
export type VmStep =
  /** A command of the monitor. */
  | { readonly do: 'qmp'; readonly command: string; readonly args: object | null }
  /** Physical memory, device registers included, by the monitor (pmemsave). All at once, in order. */
  | { readonly do: 'save'; readonly ranges: readonly PhysicalRange[] }
  /** The same by the gdb stub, which is connected to only now. All at once, in order. */
  | { readonly do: 'read'; readonly ranges: readonly PhysicalRange[] }
  | { readonly do: 'write'; readonly writes: readonly PhysicalWrite[] }
  /** The gdb stub is not needed any more. */
  | { readonly do: 'detach' }
  /** The servers of devices, by their numbers. All at once. */
  | { readonly do: 'switchover'; readonly requests: readonly SwitchoverOf[] }
  | { readonly do: 'configuration'; readonly device: number }
  | { readonly do: 'reconnection'; readonly requests: readonly ReconnectionOf[] }
  /** Takes devices to a migration state. All at once. */
  | { readonly do: 'setState'; readonly devices: readonly number[]; readonly state: MigrationState }
  /** Let so many milliseconds pass; or fewer, when the monitor tells of this event, or has since that was last waited for. */
  | { readonly do: 'pause'; readonly ms: number; readonly event: string | null }
  /** Several of these, all at once; those to the same monitor, stub or server reach it in this order. */
  | { readonly do: 'together'; readonly steps: readonly VmStep[] };

/** What came of a step that succeeded. One that failed is thrown into the sequence. */
export type VmReply =
  | { readonly kind: 'done' }
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'pieces'; readonly pieces: readonly Uint8Array[] }
  | { readonly kind: 'statuses'; readonly statuses: readonly SwitchoverStatus[] }
  | { readonly kind: 'reconnections'; readonly statuses: readonly ReconnectionStatus[] }
  /** How long it was, in milliseconds. */
  | { readonly kind: 'paused'; readonly ms: number }
  | { readonly kind: 'outcomes'; readonly outcomes: readonly VmOutcome[] };

/** What came of one of several steps. */
export type VmOutcome =
  | { readonly is: 'reply'; readonly reply: VmReply }
  | { readonly is: 'failure'; readonly error: unknown };

/** A part of a sequence: yields steps, is given replies, returns a T. It knows no sockets, clocks or files. */
export type VmSequence<T> = Generator<VmStep, T, VmReply>;

/** Executes a command of the monitor. */
export function* qmp(command: string, args: object | null = null): VmSequence<unknown> {
  return (yield* perform({ do: 'qmp', command, args }, 'value')).value;
}

/** Reads by the monitor. */
export function* save(address: bigint, length: number): VmSequence<Uint8Array> {
  return onlyOne(yield* saveAll([{ address, length }]));
}

/** Reads several pieces by the monitor. */
export function saveAll(ranges: readonly PhysicalRange[]): VmSequence<readonly Uint8Array[]> {
  return pieces({ do: 'save', ranges }, ranges);
}

/** Reads by the gdb stub. */
export function* read(address: bigint, length: number): VmSequence<Uint8Array> {
  return onlyOne(yield* readAll([{ address, length }]));
}

/** Reads several pieces by the gdb stub. */
export function readAll(ranges: readonly PhysicalRange[]): VmSequence<readonly Uint8Array[]> {
  return pieces({ do: 'read', ranges }, ranges);
}

/** Writes by the gdb stub. */
export function* writeAll(writes: readonly PhysicalWrite[]): VmSequence<void> {
  yield* perform({ do: 'write', writes }, 'done');
}

/** Asks the server of a device. */
export function* switchover(device: number, request: SwitchoverRequest): VmSequence<SwitchoverStatus> {
  return onlyOne(yield* switchoverAll([{ device, request }]));
}

/** Asks the servers of several devices. */
export function* switchoverAll(requests: readonly SwitchoverOf[]): VmSequence<readonly SwitchoverStatus[]> {
  const { statuses } = yield* perform({ do: 'switchover', requests }, 'statuses');
  if (statuses.length === requests.length) return statuses;
  throw new TypeError(`${statuses.length} answers to ${requests.length} requests`);
}

/** What becomes of the states of devices when their VMM comes back. */
export function* reconnections(
  requests: readonly ReconnectionOf[],
): VmSequence<readonly ReconnectionStatus[]> {
  const { statuses } = yield* perform({ do: 'reconnection', requests }, 'reconnections');
  if (statuses.length === requests.length) return statuses;
  throw new TypeError(`${statuses.length} answers to ${requests.length} requests`);
}

/** The configuration space of a device, as its server sees it. */
export function* configuration(device: number): VmSequence<Uint8Array> {
  return (yield* perform({ do: 'configuration', device }, 'bytes')).bytes;
}

/** Carries out a step that has nothing to tell. */
export function* carryOut(step: VmStep): VmSequence<void> {
  yield* perform(step, 'done');
}

/** Carries out a sequence, step by step; a step that fails is thrown into it. */
export async function conductVm<T>(
  sequence: VmSequence<T>,
  run: (step: VmStep) => Promise<VmReply>,
): Promise<T> {
  let turn = sequence.next();
  while (!turn.done) {
    let reply: VmReply;
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

/** Carries out a step that is answered with `kind`. */
export function* perform<K extends VmReply['kind']>(
  step: VmStep,
  kind: K,
): VmSequence<Extract<VmReply, { kind: K }>> {
  const reply = yield step;
  if (!isReply(reply, kind)) throw new TypeError(`${step.do} was answered with ${reply.kind}`);
  return reply;
}

function isReply<K extends VmReply['kind']>(reply: VmReply, kind: K): reply is Extract<VmReply, { kind: K }> {
  return reply.kind === kind;
}

function* pieces(step: VmStep, ranges: readonly PhysicalRange[]): VmSequence<readonly Uint8Array[]> {
  const found = (yield* perform(step, 'pieces')).pieces;
  const fits = found.length === ranges.length && found.every(({ length }, i) => length === ranges[i]?.length);
  if (fits) return found;
  throw new TypeError(`${found.length} pieces were answered for ${ranges.length}, or of other lengths`);
}

function onlyOne<T>(all: readonly T[]): T {
  const [one] = all;
  if (one === undefined || all.length !== 1) throw new TypeError(`${all.length} answers to one question`);
  return one;
}
