import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { isSaving, MigrationState, migrationMachine, StateError, stateName } from '../../src/states/index.ts';
import { nextState2022, numberOf, readText, type StateName, tables } from './tables.ts';

const USABLE_FLAGS = [1, 3, 5, 7];
const { ERROR, STOP_COPY, PRE_COPY, PRE_COPY_P2P } = MigrationState;

function refusal(action: () => unknown): StateError {
  try {
    action();
  } catch (error) {
    if (error instanceof StateError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe.each(tables)("against the kernel's table for flags $flags", (table) => {
  const machine = migrationMachine(table.flags);

  it('has the same states', () => {
    expect(machine.states).toEqual(table.states.map(numberOf).sort((a, b) => a - b));
  });

  it('has the same driver arcs', () => {
    const ours = machine.arcs.map((arc) => `${stateName(arc.from)}->${stateName(arc.to)}`);
    expect(ours.sort()).toEqual(table.arcs.map((arc) => arc.join('->')).sort());
  });

  it('lists every pair of different states other than ERROR', () => {
    const count = table.states.length - 1;
    expect(table.changes).toHaveLength(count * (count - 1));
  });

  it.each(table.changes)('$from to $to', ({ from, to, path, refused }) => {
    if (refused !== undefined) {
      expect(refusal(() => machine.path(numberOf(from), numberOf(to))).errno).toBe(Errno[refused]);
      expect(refusal(() => machine.next(numberOf(from), numberOf(to))).errno).toBe(Errno[refused]);
      return;
    }
    expect(machine.path(numberOf(from), numberOf(to)).map(stateName)).toEqual(path);
    expect(stateName(machine.next(numberOf(from), numberOf(to)))).toBe(path?.[0]);
  });
});

describe.each(USABLE_FLAGS)('the machine for flags %i', (flags) => {
  const machine = migrationMachine(flags);
  const live = machine.states.filter((state) => state !== ERROR);

  it('is the same object every time', () => {
    expect(migrationMachine(flags)).toBe(machine);
    expect(migrationMachine(BigInt(flags))).toBe(machine);
    expect(machine.flags).toBe(flags);
  });

  it('stays where it is when nothing changes', () => {
    for (const state of live) {
      expect(machine.path(state, state)).toEqual([]);
      expect(machine.next(state, state)).toBe(state);
    }
  });

  it('leaves and enters ERROR by no change of state', () => {
    for (const state of machine.states) {
      expect(refusal(() => machine.path(ERROR, state)).code).toBe('ERR_STATE_REFUSED');
      expect(refusal(() => machine.next(state, ERROR)).code).toBe('ERR_STATE_REFUSED');
    }
  });

  it('takes arcs only, and next is the head of path until the target is reached', () => {
    for (const [from, to, path] of allowedChanges(flags)) {
      let at = from;
      for (const step of path) {
        expect(machine.next(at, to)).toBe(step);
        expect(machine.arcs.some((arc) => arc.from === at && arc.to === step)).toBe(true);
        at = step;
      }
      expect(at).toBe(to);
    }
  });

  it('has exactly one shortest path that obeys the rule, for each change', () => {
    for (const [from, to, path] of allowedChanges(flags)) {
      expect(obedientPaths(flags, from, to, path.length), `${from} to ${to}`).toEqual([path]);
      for (let shorter = 0; shorter < path.length; shorter++) {
        expect(obedientPaths(flags, from, to, shorter)).toEqual([]);
      }
    }
  });

  it('opens and ends sessions exactly where the kind of session changes', () => {
    for (const arc of machine.arcs) {
      const before = machine.sessionKind(arc.from);
      const after = machine.sessionKind(arc.to);
      expect(arc.opensSession).toBe(after !== null && after !== before);
      expect(arc.endsSession).toBe(before !== null && after !== before);
    }
  });

  it.each([-1, 8, 9, 255, 0xffff_ffff, 1.5, Number.NaN])('refuses the state %d', (state) => {
    for (const known of live) {
      expect(refusal(() => machine.next(known, state))).toMatchObject({
        code: 'ERR_STATE_UNKNOWN',
        errno: 22,
      });
      expect(refusal(() => machine.path(state, known))).toMatchObject({
        code: 'ERR_STATE_UNKNOWN',
        errno: 22,
      });
    }
    expect(machine.has(state)).toBe(false);
  });

  it('refuses states that the device lacks', () => {
    for (const state of Object.values(MigrationState)) {
      expect(machine.has(state)).toBe(machine.states.includes(state));
      if (machine.has(state)) continue;
      const expected = { code: 'ERR_STATE_UNSUPPORTED', errno: Errno.EINVAL };
      expect(refusal(() => machine.path(MigrationState.RUNNING, state))).toMatchObject(expected);
      expect(refusal(() => machine.next(state, MigrationState.RUNNING))).toMatchObject(expected);
    }
  });
});

type ChangePath = readonly [MigrationState, MigrationState, readonly MigrationState[]];

function allowedChanges(flags: number): ChangePath[] {
  const machine = migrationMachine(flags);
  const changes: ChangePath[] = [];
  for (const from of machine.states) {
    for (const to of machine.states) {
      const blocked = from === STOP_COPY && (to === PRE_COPY || to === PRE_COPY_P2P);
      if (from === ERROR || to === ERROR || blocked) continue;
      changes.push([from, to, machine.path(from, to)]);
    }
  }
  return changes;
}

/** Every walk of `length` arcs from `from` to `to` that obeys the rule of the saving group, by brute force. */
function obedientPaths(
  flags: number,
  from: MigrationState,
  to: MigrationState,
  length: number,
): readonly (readonly MigrationState[])[] {
  const { arcs } = migrationMachine(flags);
  let walks: (readonly MigrationState[])[] = [[from]];
  for (let step = 0; step < length; step++) {
    walks = walks.flatMap((walk) =>
      arcs.filter((arc) => arc.from === walk[walk.length - 1]).map((arc) => [...walk, arc.to]),
    );
  }
  const obeys = (walk: readonly MigrationState[]) =>
    walk.every(isSaving) || !walk.slice(1, -1).some((state) => isSaving(state));
  return walks.filter((walk) => walk[walk.length - 1] === to && obeys(walk)).map((walk) => walk.slice(1));
}

describe('sessions of the full machine', () => {
  const arcs = migrationMachine(7).arcs;
  const names = (kind: 'opensSession' | 'endsSession') =>
    arcs.filter((arc) => arc[kind]).map((arc) => `${stateName(arc.from)}->${stateName(arc.to)}`);

  it('begin on the four arcs on which the kernel creates a data fd', () => {
    expect(names('opensSession').sort()).toEqual([
      'RUNNING->PRE_COPY',
      'RUNNING_P2P->PRE_COPY_P2P',
      'STOP->RESUMING',
      'STOP->STOP_COPY',
    ]);
  });

  it('end on the four arcs back', () => {
    expect(names('endsSession').sort()).toEqual([
      'PRE_COPY->RUNNING',
      'PRE_COPY_P2P->RUNNING_P2P',
      'RESUMING->STOP',
      'STOP_COPY->STOP',
    ]);
  });
});

describe('flags', () => {
  it.each([0, 2, 4, 6])('%i lacks STOP_COPY and is refused', (flags) => {
    expect(refusal(() => migrationMachine(flags))).toMatchObject({ code: 'ERR_MIGRATION_FLAGS', errno: 22 });
  });

  it.each([8, 9, 15, 0x8000_0001, 2 ** 40 + 1, 1n << 63n, (1n << 63n) | 7n, -1])(
    '%d has unknown bits and is refused',
    (flags) => {
      expect(refusal(() => migrationMachine(flags))).toMatchObject({
        code: 'ERR_MIGRATION_FLAGS',
        errno: 22,
      });
    },
  );

  it.each([1.5, Number.NaN, Number.POSITIVE_INFINITY])('%d is no set of flags', (flags) => {
    expect(refusal(() => migrationMachine(flags))).toMatchObject({ code: 'ERR_MIGRATION_FLAGS', errno: 22 });
  });
});

describe.each([1, 3])('against the kernel function of 2022 with flags %i', (flags) => {
  const machine = migrationMachine(flags);

  /** vfio_mig_get_next_state() before PRE_COPY existed: ERROR stands for a refusal. */
  function next2022(current: number, requested: number): StateName {
    const { states, next } = nextState2022;
    const hasP2p = (flags & 2) !== 0;
    const wanted = states[requested];
    let at = states[current];
    if (at === undefined || wanted === undefined) return 'ERROR';
    if (!hasP2p && (at === 'RUNNING_P2P' || wanted === 'RUNNING_P2P')) return 'ERROR';
    do {
      at = next[at]?.[requested] ?? 'ERROR';
    } while (!hasP2p && at === 'RUNNING_P2P');
    return at;
  }

  function ours(current: number, requested: number): string {
    try {
      return stateName(machine.next(current, requested));
    } catch (error) {
      if (error instanceof StateError && error.errno === Errno.EINVAL) return 'ERROR';
      throw error;
    }
  }

  it('returns the same for every pair of arguments, in range or not', () => {
    for (let current = 0; current <= 9; current++) {
      for (let requested = 0; requested <= 9; requested++) {
        expect(ours(current, requested), `${current} to ${requested}`).toBe(next2022(current, requested));
      }
    }
  });
});

describe('the recorded kernel matrix', () => {
  const rowPattern = /^ (\w+) +-> (\w+|\(8\)) +: (\w+) +state=(\w+) fd=(-1|new)$/;
  const rows = readText('kernel-mtty-transition-matrix.txt')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  const machine = migrationMachine(7);

  /** What SET answers when the arc RESUMING to STOP fails with EINVAL, as it does while the state is incomplete. */
  function set(from: number, to: number): { errno: string; state: string; fd: string } {
    let path: readonly MigrationState[];
    try {
      path = machine.path(from, to);
    } catch (error) {
      if (!(error instanceof StateError) || error.errno !== Errno.EINVAL) throw error;
      return { errno: 'EINVAL', state: stateName(from), fd: '-1' };
    }
    let at = from;
    let fd = '-1';
    for (const next of path) {
      if (at === MigrationState.RESUMING) return { errno: 'EINVAL', state: stateName(at), fd: '-1' };
      const arc = machine.arcs.find((known) => known.from === at && known.to === next);
      if (arc?.opensSession) fd = 'new';
      if (arc?.endsSession) fd = '-1';
      at = next;
    }
    return { errno: '0', state: stateName(at), fd };
  }

  it('holds 63 rows', () => {
    expect(rows).toHaveLength(63);
  });

  it.each(rows)('%s', (row) => {
    const [, from = '', to = '', errno, state, fd] = rowPattern.exec(row) ?? [];
    const number = (name: string) =>
      Object.values(MigrationState).find((known) => stateName(known) === name) ??
      Number(name.replace(/\D/g, ''));
    expect(set(number(from), number(to))).toEqual({ errno, state, fd });
  });
});
