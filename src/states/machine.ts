import { Errno } from '../errors/index.ts';
import { type Arc, arcsFor, isInsideSaving } from './arcs.ts';
import { requireUsableFlags } from './migration-flags.ts';
import {
  isSaving,
  MigrationState,
  parseState,
  type SessionKind,
  sessionKind,
  stateName,
} from './migration-state.ts';
import { StateError, type StateErrorCode } from './state-error.ts';

/** The v2 state machine of a device with certain migration flags. Immutable. */
export interface MigrationMachine {
  /** The flags it was made for (bits of MigrationFlag). */
  readonly flags: number;
  /** The states that the device has, ERROR included, in the order of their numbers. */
  readonly states: readonly MigrationState[];
  /** The steps that the device implements. */
  readonly arcs: readonly Arc[];
  /** Whether the device has this state. Any number is allowed. */
  has(state: number): boolean;
  /** The first step from `from` towards `to`; `to` itself when they are equal. Throws StateError EINVAL when refused. */
  next(from: number, to: number): MigrationState;
  /** Every state after `from` up to `to`; empty when they are equal. Throws StateError EINVAL when refused. */
  path(from: number, to: number): readonly MigrationState[];
  /** The kind of data session that is open in `state`, or null. */
  sessionKind(state: MigrationState): SessionKind | null;
}

type Path = readonly MigrationState[];

const { ERROR, STOP_COPY, PRE_COPY, PRE_COPY_P2P } = MigrationState;

/** Room for every state number, to make one key of two. */
const STATE_RADIX = 8;

const machines = new Map<number, MigrationMachine>();

/**
 * The state machine for a device's migration flags; the same object for the same flags. Throws StateError EINVAL
 * (ERR_MIGRATION_FLAGS) for flags without STOP_COPY and for unknown bits.
 */
export function migrationMachine(flags: number | bigint): MigrationMachine {
  const usable = requireUsableFlags(flags);
  let machine = machines.get(usable);
  if (machine === undefined) {
    machine = buildMachine(usable);
    machines.set(usable, machine);
  }
  return machine;
}

function buildMachine(flags: number): MigrationMachine {
  const arcs = arcsFor(flags);
  const states = statesOf(arcs);
  const paths = new Map<number, Path>();
  for (const from of states) {
    for (const to of states) {
      const path = findPath(arcs, from, to);
      if (path !== null) paths.set(from * STATE_RADIX + to, path);
    }
  }
  const path = (from: number, to: number): Path => {
    const known = requireState(flags, states, from) * STATE_RADIX + requireState(flags, states, to);
    const found = paths.get(known);
    if (found === undefined) throw refusal('ERR_STATE_REFUSED', from, to, refusedBecause(from, to));
    return found;
  };
  return {
    flags,
    states,
    arcs,
    has: (state) => states.some((known) => known === state),
    path,
    next: (from, to) => path(from, to)[0] ?? requireState(flags, states, to),
    sessionKind,
  };
}

/** ERROR has no arcs, but every device has it. */
function statesOf(arcs: readonly Arc[]): readonly MigrationState[] {
  const states = new Set<MigrationState>([ERROR]);
  for (const arc of arcs) states.add(arc.from).add(arc.to);
  return [...states].sort((a, b) => a - b);
}

/**
 * The path of a combination, by the rules in linux/vfio.h: the shortest one, and "the path cannot have saving group
 * states as interior arcs, only starting/end states", unless all of it lies in the saving group. Null when there is
 * none or it is blocked.
 */
function findPath(arcs: readonly Arc[], from: MigrationState, to: MigrationState): Path | null {
  if (from === ERROR || to === ERROR) return null;
  if (isBlocked(from, to)) return null;
  const around = shortestPath(arcs, from, to, (state) => !isSaving(state));
  if (!isInsideSaving(from, to)) return around;
  const inside = shortestPath(arcs, from, to, isSaving);
  return inside !== null && (around === null || inside.length <= around.length) ? inside : around;
}

/** Saving again takes a new session, so these are refused although arcs could be chained (linux/vfio.h). */
function isBlocked(from: MigrationState, to: MigrationState): boolean {
  return from === STOP_COPY && (to === PRE_COPY || to === PRE_COPY_P2P);
}

/** Breadth first; only states that `mayPass` allows lie between the ends. */
function shortestPath(
  arcs: readonly Arc[],
  from: MigrationState,
  to: MigrationState,
  mayPass: (state: MigrationState) => boolean,
): Path | null {
  if (from === to) return [];
  const seen = new Set<MigrationState>([from]);
  let frontier: { readonly end: MigrationState; readonly path: Path }[] = [{ end: from, path: [] }];
  while (frontier.length > 0) {
    const wider: typeof frontier = [];
    for (const { end, path } of frontier) {
      for (const arc of arcs) {
        if (arc.from !== end || seen.has(arc.to)) continue;
        if (arc.to === to) return [...path, to];
        if (!mayPass(arc.to)) continue;
        seen.add(arc.to);
        wider.push({ end: arc.to, path: [...path, arc.to] });
      }
    }
    frontier = wider;
  }
  return null;
}

function requireState(flags: number, states: readonly MigrationState[], value: number): MigrationState {
  const state = parseState(value);
  if (state === null) {
    throw new StateError('ERR_STATE_UNKNOWN', `${value} is no migration state`, {
      errno: Errno.EINVAL,
      context: { state: value },
    });
  }
  if (!states.includes(state)) {
    throw new StateError('ERR_STATE_UNSUPPORTED', `the device has no state ${stateName(state)}`, {
      errno: Errno.EINVAL,
      context: { state: stateName(state), flags },
    });
  }
  return state;
}

/** Why the machine has no way between two of its states. */
export function refusedBecause(from: number, to: number): string {
  if (from === ERROR) return 'only a reset leaves ERROR';
  if (to === ERROR) return 'ERROR is entered only by a failure';
  return 'a new saving session begins in a running state or in STOP';
}

function refusal(code: StateErrorCode, from: number, to: number, reason: string): StateError {
  return new StateError(code, `${stateName(from)} to ${stateName(to)} is refused: ${reason}`, {
    errno: Errno.EINVAL,
    context: { from: stateName(from), to: stateName(to) },
  });
}
