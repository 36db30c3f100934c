import { MigrationState } from '../migration-state.ts';
import { V1Bit, V1State } from './device-state.ts';

/**
 * The states of the state machine of January 2022: v1's numbers, with the P2P states in the two invalid ones.
 */
export const FsmState = {
  STOP: 0,
  RUNNING: 1,
  STOP_COPY: 2,
  PRE_COPY: 3,
  RESUMING: 4,
  PRE_COPY_P2P: 5,
  ERROR: 6,
  RUNNING_P2P: 7,
} as const;

/** The number of one of {@link FsmState}. */
export type FsmState = (typeof FsmState)[keyof typeof FsmState];

/**
 * The table of vfio_mig_get_next_state() in "vfio: Revise and update the migration uAPI description" (14 January
 * 2022): row is the current state, column the requested one, in the order of their numbers; the cell is the next step,
 * 6 (ERROR) a refusal. Kept as it was published: that the v2 machine, which follows from its arcs, equals it is a proof.
 */
const NEXT_STATE = [
  [0, 7, 2, 7, 4, 7, 6, 7],
  [7, 1, 7, 3, 7, 7, 6, 7],
  [0, 0, 2, 6, 0, 6, 6, 0],
  [1, 1, 5, 3, 1, 5, 6, 1],
  [0, 0, 0, 0, 4, 0, 6, 0],
  [7, 7, 2, 3, 7, 5, 6, 7],
  [6, 6, 6, 6, 6, 6, 6, 6],
  [0, 1, 0, 1, 0, 5, 6, 7],
] as const satisfies readonly (readonly FsmState[])[];

/** Their names, in the order of their numbers. */
const NAMES = [
  'STOP',
  'RUNNING',
  'STOP_COPY',
  'PRE_COPY',
  'RESUMING',
  'PRE_COPY_P2P',
  'ERROR',
  'RUNNING_P2P',
] as const satisfies readonly (keyof typeof FsmState)[];

/** The name of one of the machine's states, or null for a number that is none. */
export function fsmStateName(code: number): keyof typeof FsmState | null {
  return NAMES[code] ?? null;
}

/** The number that the same state has in v2, or null for a number that is none. */
export function renumberToV2(code: number): MigrationState | null {
  const name = fsmStateName(code);
  return name === null ? null : MigrationState[name];
}

/** The number in this machine of a state of v2; -1 for a number that is none. */
export function renumberFromV2(state: number): number {
  return NAMES.findIndex((name) => MigrationState[name] === state);
}

/** The bits that the state would have with the proposed bit NDMA instead of the P2P states. */
export function fsmBits(code: number): number {
  if (code === FsmState.RUNNING_P2P) return V1State.RUNNING | V1Bit.NDMA;
  if (code === FsmState.PRE_COPY_P2P) return V1State.PRE_COPY | V1Bit.NDMA;
  return code;
}

/** Whether the state is one of the two that devices without P2P lack. */
export function isFsmP2p(code: number): boolean {
  return code === FsmState.RUNNING_P2P || code === FsmState.PRE_COPY_P2P;
}

/**
 * The states after `from` up to `to`, the shortest way over the machine's arcs; empty when they are equal, null when
 * it is refused. Without `p2p` the P2P states are stepped over, and refused when asked for.
 */
export function fsmPath(
  from: number,
  to: number,
  { p2p }: { readonly p2p: boolean },
): readonly number[] | null {
  if (!p2p && (isFsmP2p(from) || isFsmP2p(to))) return null;
  const path: number[] = [];
  let state = from;
  do {
    const next = NEXT_STATE[state]?.[to];
    if (next === undefined || next === FsmState.ERROR) return null;
    if (next !== state && (p2p || !isFsmP2p(next))) path.push(next);
    state = next;
  } while (state !== to);
  return path;
}
