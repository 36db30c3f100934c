import { MigrationState, parseV1State, V1_STATE_MASK, V1State } from '../../states/index.ts';

const { ERROR, STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY } = MigrationState;

const PAIRS: readonly (readonly [V1State, MigrationState])[] = [
  [V1State.STOP, STOP],
  [V1State.RUNNING, RUNNING],
  [V1State.STOP_COPY, STOP_COPY],
  [V1State.PRE_COPY, PRE_COPY],
  [V1State.RESUMING, RESUMING],
  [V1State.ERROR, ERROR],
];

const toV2 = new Map<number, MigrationState>(PAIRS);
const toV1 = new Map<number, V1State>(PAIRS.map(([v1, v2]) => [v2, v1]));

/** Numbers that no state of v2 has, for combinations of bits that no state of v1 has. */
const INVALID = 0x100;

/** A value of device_state as a state of v2; a number that is none for 101 and 111. */
export function v2StateOf(deviceState: number): number {
  const state = parseV1State(deviceState);
  return (state === null ? null : toV2.get(state)) ?? INVALID | (deviceState & V1_STATE_MASK);
}

/** The state of v1 that a state of v2 stands for; null for ERROR, which nobody asks for, and for the P2P states. */
export function v1StateFor(state: MigrationState): V1State | null {
  return state === ERROR ? null : (toV1.get(state) ?? null);
}

/**
 * The writes by which a v1 device gets from one state to another, the best way first. The others are for servers that
 * do not take every change: they stop or save in between, but never run a device that is not to run, and never discard
 * what was loaded.
 */
export function waysTo(from: number, to: V1State): readonly (readonly V1State[])[] {
  const detours: readonly (readonly V1State[])[] =
    from === to || from === V1State.RESUMING || to === V1State.PRE_COPY
      ? []
      : [[V1State.STOP], [V1State.STOP_COPY], [V1State.STOP_COPY, V1State.STOP]];
  const useful = detours.filter((detour) => !detour.some((state) => state === from || state === to));
  return [[to], ...useful.map((detour) => [...detour, to])];
}
