import type { SwitchoverRequest, SwitchoverStatus } from '../client/index.ts';

/** One thing that a sequence wants done with a VMM or with the devices of its VM. */
export type VmStep =
  /** A command of the monitor. */
  | { readonly do: 'qmp'; readonly command: string; readonly args: object | null }
  /** Physical memory, device registers included, by the monitor (pmemsave). */
  | { readonly do: 'save'; readonly address: bigint; readonly length: number }
  /** The same by the gdb stub, which is connected to only now. */
  | { readonly do: 'read'; readonly address: bigint; readonly length: number }
  | { readonly do: 'write'; readonly address: bigint; readonly bytes: Uint8Array }
  /** The gdb stub is not needed any more. */
  | { readonly do: 'detach' }
  /** The server of a device, by its number. */
  | { readonly do: 'switchover'; readonly device: number; readonly request: SwitchoverRequest }
  | { readonly do: 'configuration'; readonly device: number }
  /** Let so many milliseconds pass. */
  | { readonly do: 'pause'; readonly ms: number };

/** What came of a step that succeeded. One that failed is thrown into the sequence. */
export type VmReply =
  | { readonly kind: 'done' }
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'status'; readonly status: SwitchoverStatus };

/** A part of a sequence: yields steps, is given replies, returns a T. It knows no sockets, clocks or files. */
export type VmSequence<T> = Generator<VmStep, T, VmReply>;

/** Executes a command of the monitor. */
export function* qmp(command: string, args: object | null = null): VmSequence<unknown> {
  return (yield* perform({ do: 'qmp', command, args }, 'value')).value;
}

/** Reads by the monitor. */
export function* save(address: bigint, length: number): VmSequence<Uint8Array> {
  return exactly((yield* perform({ do: 'save', address, length }, 'bytes')).bytes, length);
}

/** Reads by the gdb stub. */
export function* read(address: bigint, length: number): VmSequence<Uint8Array> {
  return exactly((yield* perform({ do: 'read', address, length }, 'bytes')).bytes, length);
}

/** Writes by the gdb stub. */
export function* write(address: bigint, bytes: Uint8Array): VmSequence<void> {
  yield* perform({ do: 'write', address, bytes }, 'done');
}

/** Asks the server of a device. */
export function* switchover(device: number, request: SwitchoverRequest): VmSequence<SwitchoverStatus> {
  return (yield* perform({ do: 'switchover', device, request }, 'status')).status;
}

/** The configuration space of a device, as its server sees it. */
export function* configuration(device: number): VmSequence<Uint8Array> {
  return (yield* perform({ do: 'configuration', device }, 'bytes')).bytes;
}

/** Carries out a step that has nothing to tell. */
export function* carryOut(step: VmStep): VmSequence<void> {
  yield* perform(step, 'done');
}

/** How often something that is waited for is looked at, in milliseconds. */
const PERIOD_MS = 2;

/** Looks until `look` gives something else than null, for so many milliseconds at most; then null. */
export function* until<T>(ms: number, look: () => VmSequence<T | null>): VmSequence<T | null> {
  for (let left = ms; ; left -= PERIOD_MS) {
    const found = yield* look();
    if (found !== null || left <= 0) return found;
    yield* carryOut({ do: 'pause', ms: PERIOD_MS });
  }
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

function* perform<K extends VmReply['kind']>(
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

function exactly(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length === length) return bytes;
  throw new TypeError(`${bytes.length} bytes were answered for ${length}`);
}
