import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Errno, errnoName, FerryError } from '../../src/errors/index.ts';
import { MigrationSession } from '../../src/server/migration-session.ts';
import { ServerError } from '../../src/server/server-error.ts';
import { MigrationState, migrationMachine, sessionKind, stateName } from '../../src/states/index.ts';
import { type ArcOutcome, arcFailure, ScriptedMigration } from './scripted-migration.ts';

const { ERROR, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P } = MigrationState;
const { EIO, ENODEV, ENOTTY, EPROTO, ETIMEDOUT } = Errno;

/** Whoever asks. */
class Party {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** The outcome of a call: 'ok', or the name of its errno. */
function outcomeOf(call: () => unknown): string {
  try {
    call();
    return 'ok';
  } catch (error) {
    return errnoOf(error);
  }
}

function errnoOf(error: unknown): string {
  return error instanceof FerryError ? errnoName(error.errno) : `no errno: ${String(error)}`;
}

/** Lets every promise job run. */
function flush(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function session(flags: number) {
  const device = new ScriptedMigration(flags);
  const events: string[] = [];
  const migration = new MigrationSession<Party>(device, {
    arc: (from, to, by) => events.push(`${by.name}: ${stateName(from)}>${stateName(to)}`),
    settled: (by, error) => events.push(`${by.name}: ${error === null ? 'done' : errnoOf(error)}`),
  });
  const reset = (by: Party): void => {
    migration.resetBegins(by);
    device.reset();
    migration.wasReset();
  };
  return { device, migration, events, reset, a: new Party('a'), b: new Party('b'), vmm: new Party('vmm') };
}

const one = new Uint8Array(1);

describe('one driver', () => {
  it('reads its saving session through PRE_COPY, PRE_COPY_P2P and STOP_COPY, and no other state', () => {
    const { migration, a } = session(7);
    const readable = [PRE_COPY, PRE_COPY_P2P, STOP_COPY, STOP, RUNNING_P2P, RUNNING].map((state) => {
      migration.set(state, a);
      return [stateName(state), outcomeOf(() => migration.read(one, a))];
    });
    expect(readable).toEqual([
      ['PRE_COPY', 'ok'],
      ['PRE_COPY_P2P', 'ok'],
      ['STOP_COPY', 'ok'],
      ['STOP', 'EINVAL'],
      ['RUNNING_P2P', 'EINVAL'],
      ['RUNNING', 'EINVAL'],
    ]);
  });

  it('writes in RESUMING only, and asks for estimates in the PRE_COPY states only', () => {
    const { migration, device, a } = session(7);
    const outcomes = [PRE_COPY, PRE_COPY_P2P, STOP_COPY, STOP, RESUMING].map((state) => {
      migration.set(state, a);
      return [outcomeOf(() => migration.write(one, a)), outcomeOf(() => migration.precopyInfo(a))];
    });
    expect(outcomes).toEqual([
      ['EINVAL', 'ok'],
      ['EINVAL', 'ok'],
      ['EINVAL', 'EINVAL'],
      ['EINVAL', 'EINVAL'],
      ['ok', 'EINVAL'],
    ]);
    expect(device.written).toBe(1);
  });

  it('is synchronous with a synchronous device, and tells of each arc and of the end', () => {
    const { migration, events, a } = session(7);
    expect(migration.set(STOP, a)).toBeUndefined();
    expect(events).toEqual(['a: RUNNING>RUNNING_P2P', 'a: RUNNING_P2P>STOP', 'a: done']);
  });

  it('keeps others out until the device runs again', () => {
    const { migration, a, b } = session(7);
    for (const state of [PRE_COPY, PRE_COPY_P2P, STOP_COPY, STOP, RESUMING, STOP, RUNNING_P2P]) {
      migration.set(state, a);
      expect(migration.owner).toBe(a);
      expect(outcomeOf(() => migration.set(RUNNING, b))).toBe('EBUSY');
      expect(outcomeOf(() => migration.read(one, b))).toBe('EBUSY');
      expect(outcomeOf(() => migration.write(one, b))).toBe('EBUSY');
      expect(outcomeOf(() => migration.precopyInfo(b))).toBe('EBUSY');
      expect(outcomeOf(() => migration.requireTurnToReset(b))).toBe('EBUSY');
      expect(migration.report(b)).toBe(state);
    }
    migration.set(RUNNING, a);
    expect(migration.owner).toBeNull();
    expect(migration.set(PRE_COPY, b)).toBeUndefined();
  });

  it('leaves the state to the next when it goes', () => {
    const { migration, a, b } = session(7);
    migration.set(STOP_COPY, a);
    migration.leave(a);
    expect(migration.owner).toBeNull();
    expect(migration.state).toBe(STOP_COPY);
    expect(migration.read(one, b)).toBe(1);
    expect(migration.owner).toBe(b);
  });

  it('that goes in the middle of a transition does not own the device for ever', async () => {
    const { migration, device, a, b } = session(7);
    device.outcomes = ['wait'];
    const pending = migration.set(STOP, a);
    expect(migration.owner).toBe(a);
    migration.leave(a);
    expect(outcomeOf(() => migration.set(RUNNING, b))).toBe('EBUSY');
    device.settle('ok');
    await pending;
    expect(migration.state).toBe(STOP);
    expect(migration.owner).toBeNull();
    expect(migration.set(RUNNING, b)).toBeUndefined();
  });

  it('does not become the owner by asking for what is refused', () => {
    const { migration, a, b } = session(7);
    migration.set(STOP_COPY, a);
    migration.leave(a);
    expect(outcomeOf(() => migration.set(PRE_COPY, b))).toBe('EINVAL');
    expect(outcomeOf(() => migration.set(ERROR, b))).toBe('EINVAL');
    expect(outcomeOf(() => migration.set(8, b))).toBe('EINVAL');
    expect(migration.owner).toBeNull();
    expect(migration.lastError).toBeNull();
  });
});

describe('a transition that fails', () => {
  it('leaves the device in the state reached, and says why', () => {
    const { migration, device, events, a } = session(7);
    device.outcomes = ['ok', 'fail'];
    expect(outcomeOf(() => migration.set(STOP_COPY, a))).toBe('EPROTO');
    expect(migration.state).toBe(RUNNING_P2P);
    expect(migration.owner).toBe(a);
    expect(migration.lastError).toMatchObject({ code: 'ERR_ARC_FAILED', errno: EPROTO, cause: arcFailure });
    expect(events).toEqual(['a: RUNNING>RUNNING_P2P', 'a: EPROTO']);
  });

  it('on the way out of RUNNING makes nobody an owner', () => {
    const { migration, device, a, b } = session(7);
    device.outcomes = ['fail'];
    expect(outcomeOf(() => migration.set(STOP, a))).toBe('EPROTO');
    expect(migration.owner).toBeNull();
    expect(migration.set(PRE_COPY, b)).toBeUndefined();
  });

  it('with an error that is none of ours is EIO', () => {
    const { migration, device, a } = session(1);
    device.arc = () => {
      throw new TypeError('a bug');
    };
    expect(outcomeOf(() => migration.set(STOP, a))).toBe(errnoName(EIO));
  });
});

describe('a transition that takes time', () => {
  it('keeps everything else waiting, and shows the state it has reached', async () => {
    const { migration, device, a } = session(7);
    device.outcomes = ['ok', 'wait'];
    const pending = migration.set(STOP_COPY, a);
    expect(migration.inTransition).toBe(true);
    expect(stateName(migration.report(a))).toBe('RUNNING_P2P');
    expect(outcomeOf(() => migration.set(RUNNING, a))).toBe('EBUSY');
    expect(outcomeOf(() => migration.read(one, a))).toBe('EBUSY');
    device.settle('ok');
    await pending;
    expect(migration.inTransition).toBe(false);
    expect(migration.state).toBe(STOP_COPY);
  });

  it('that is given up ends after the arc it is in', async () => {
    const { migration, device, a } = session(7);
    device.outcomes = ['ok', 'wait'];
    const pending = migration.set(STOP_COPY, a);
    migration.abandon();
    device.settle('ok');
    await expect(pending).rejects.toMatchObject({ errno: ETIMEDOUT });
    expect(migration.state).toBe(STOP);
    expect(migration.set(STOP_COPY, a)).toBeUndefined();
  });

  it('that is given up on its last arc still arrives', async () => {
    const { migration, device, a } = session(7);
    device.outcomes = ['wait'];
    const pending = migration.set(RUNNING_P2P, a);
    migration.abandon();
    device.settle('ok');
    await pending;
    expect(migration.state).toBe(RUNNING_P2P);
  });
});

describe('a reset by somebody else', () => {
  it('is told to the owner with each of its commands until it has asked for the state', () => {
    const { migration, reset, a, vmm } = session(7);
    migration.set(PRE_COPY, a);
    reset(vmm);
    expect(migration.state).toBe(RUNNING);
    for (let again = 0; again < 2; again += 1) {
      expect(outcomeOf(() => migration.read(one, a))).toBe('ENODEV');
      expect(outcomeOf(() => migration.write(one, a))).toBe('ENODEV');
      expect(outcomeOf(() => migration.precopyInfo(a))).toBe('ENODEV');
      expect(outcomeOf(() => migration.dataSize(a))).toBe('ENODEV');
      expect(outcomeOf(() => migration.set(STOP_COPY, a))).toBe('ENODEV');
      expect(outcomeOf(() => migration.set(PRE_COPY, a))).toBe('ENODEV');
    }
    expect(migration.report(a)).toBe(RUNNING);
    expect(migration.set(PRE_COPY, a)).toBeUndefined();
  });

  it('is told until the owner has set RUNNING, and not by RUNNING that is refused', () => {
    const { migration, reset, a, b, vmm } = session(7);
    migration.set(PRE_COPY, a);
    reset(vmm);
    migration.set(PRE_COPY, b);
    expect(outcomeOf(() => migration.set(RUNNING, a))).toBe('EBUSY');
    migration.leave(b);
    expect(outcomeOf(() => migration.read(one, a))).toBe('ENODEV');
    migration.set(RUNNING, a);
    expect(outcomeOf(() => migration.set(PRE_COPY, a))).toBe('ok');
  });

  it('is not told to anybody else, nor for a session that was over', () => {
    const { migration, reset, a, b, vmm } = session(7);
    migration.set(PRE_COPY, a);
    migration.set(RUNNING, a);
    reset(vmm);
    expect(outcomeOf(() => migration.set(PRE_COPY, a))).toBe('ok');
    reset(vmm);
    expect(outcomeOf(() => migration.set(PRE_COPY, b))).toBe('ok');
  });

  it('lets the owner reset for itself, which it thereby knows', () => {
    const { migration, reset, a, vmm } = session(7);
    migration.set(PRE_COPY, a);
    reset(vmm);
    expect(outcomeOf(() => migration.requireTurnToReset(a))).toBe('ok');
    reset(a);
    expect(outcomeOf(() => migration.set(PRE_COPY, a))).toBe('ok');
  });

  it('that the owner asked for itself is not told', () => {
    const { migration, reset, a } = session(7);
    migration.set(PRE_COPY, a);
    reset(a);
    expect(outcomeOf(() => migration.set(PRE_COPY, a))).toBe('ok');
  });

  it('voids a transition under way: it ends with ENODEV, goes no further, and frees the device at once', async () => {
    const { migration, device, reset, a, b, vmm } = session(7);
    device.outcomes = ['wait'];
    const pending = migration.set(STOP_COPY, a);
    const outcome = expect(pending).rejects.toMatchObject({ code: 'ERR_SESSION_ABORTED', errno: ENODEV });
    reset(vmm);
    expect(migration.inTransition).toBe(false);
    expect(migration.set(PRE_COPY, b)).toBeUndefined();
    const arcs = [...device.arcs];
    device.settle('ok');
    await outcome;
    expect(device.arcs).toEqual(arcs);
    expect(migration.state).toBe(PRE_COPY);
    expect(migration.owner).toBe(b);
  });

  it('that takes time keeps transitions out, and does not count as noticed before it is over', () => {
    const { migration, device, a, b, vmm } = session(7);
    migration.set(PRE_COPY, a);
    migration.resetBegins(vmm);
    expect(outcomeOf(() => migration.set(RUNNING, b))).toBe('EBUSY');
    expect(outcomeOf(() => migration.read(one, b))).toBe('EBUSY');
    migration.report(a);
    device.reset();
    migration.wasReset();
    expect(outcomeOf(() => migration.read(one, a))).toBe('ENODEV');
  });

  it('that fails leaves ERROR, which only another reset leaves', () => {
    const { migration, reset, a, vmm } = session(7);
    migration.resetBegins(vmm);
    migration.failed(arcFailure);
    expect(migration.state).toBe(ERROR);
    expect(migration.lastError).toBe(arcFailure);
    for (const state of [STOP, RUNNING, RESUMING])
      expect(outcomeOf(() => migration.set(state, a))).toBe('EINVAL');
    reset(vmm);
    expect(migration.state).toBe(RUNNING);
    expect(migration.lastError).toBeNull();
  });
});

describe('a device that does not migrate', () => {
  it('answers every migration command with ENOTTY', () => {
    const { migration, a } = session(0);
    expect(outcomeOf(() => migration.report(a))).toBe(errnoName(ENOTTY));
    expect(outcomeOf(() => migration.set(RUNNING, a))).toBe('ENOTTY');
    expect(outcomeOf(() => migration.read(one, a))).toBe('ENOTTY');
    expect(outcomeOf(() => migration.write(one, a))).toBe('ENOTTY');
    expect(outcomeOf(() => migration.dataSize(a))).toBe('ENOTTY');
  });

  it('is reset like any other', () => {
    const { migration, reset, a } = session(0);
    reset(a);
    expect(migration.state).toBe(RUNNING);
  });
});

// ---- against a model

const PARTIES = 3;

type Op =
  | { readonly kind: 'set'; readonly party: number; readonly target: number; readonly outcomes: ArcOutcome[] }
  | { readonly kind: 'settle'; readonly outcome: 'ok' | 'fail' }
  | { readonly kind: 'reset'; readonly party: number; readonly polite: boolean }
  | { readonly kind: 'reset ends'; readonly outcome: 'ok' | 'fail' }
  | { readonly kind: 'read' | 'write' | 'info' | 'report' | 'leave'; readonly party: number }
  | { readonly kind: 'abandon' };

const party = fc.nat(PARTIES - 1);
const settled = fc.constantFrom('ok' as const, 'fail' as const);
const arcOutcome = fc.oneof(
  { weight: 5, arbitrary: fc.constant('ok' as const) },
  { weight: 2, arbitrary: fc.constant('wait' as const) },
  { weight: 1, arbitrary: fc.constant('fail' as const) },
);
const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('set' as const),
      party,
      target: fc.nat(8),
      outcomes: fc.array(arcOutcome, { maxLength: 4 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('settle' as const), outcome: settled }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('reset' as const), party, polite: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('reset ends' as const), outcome: settled }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'read' as const,
        'write' as const,
        'info' as const,
        'report' as const,
        'leave' as const,
      ),
      party,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('abandon' as const) }) },
);

interface Flight {
  readonly by: number;
  readonly path: readonly MigrationState[];
  readonly outcomes: ArcOutcome[];
  void: boolean;
}

/** What the session should be, written as plainly as possible: no promises, no classes of errors. */
class Model {
  readonly flags: number;
  state: MigrationState = RUNNING;
  owner: number | null = null;
  readonly aborted = new Set<number>();
  /** Transitions whose arc waits, void ones included, oldest first. */
  flights: Flight[] = [];
  resetting = false;
  abandoned = false;
  /** How transitions that took time ended. */
  readonly endings: string[] = [];

  constructor(flags: number) {
    this.flags = flags;
  }

  get flight(): Flight | null {
    return this.flights.find((flight) => !flight.void) ?? null;
  }

  set(by: number, target: number, outcomes: ArcOutcome[]): string {
    if (target > 7) return 'EINVAL';
    if (target !== RUNNING && this.aborted.has(by)) return 'ENODEV';
    const busy = this.#turn(by);
    if (busy !== null) return busy;
    const path = this.path(target);
    if (path === null) return 'EINVAL';
    this.owner = by;
    this.abandoned = false;
    return this.#go({ by, path, outcomes: [...outcomes], void: false });
  }

  settle(outcome: 'ok' | 'fail'): void {
    const flight = this.flights.shift();
    if (flight === undefined) return;
    let ending: string;
    if (flight.void) ending = 'ENODEV';
    else if (outcome === 'fail') ending = this.#end(flight, 'EPROTO');
    else ending = this.#arrive(flight);
    if (ending !== 'waits') this.endings.push(ending);
  }

  transfer(by: number, kind: 'saving' | 'resuming', preCopyOnly = false): string {
    if (this.aborted.has(by)) return 'ENODEV';
    const busy = this.#turn(by);
    if (busy !== null) return busy;
    if (sessionKind(this.state) !== kind) return 'EINVAL';
    this.owner = by;
    return preCopyOnly && this.state === STOP_COPY ? 'EINVAL' : 'ok';
  }

  resetBegins(by: number): void {
    if (this.owner !== null && this.owner !== by) this.aborted.add(this.owner);
    this.aborted.delete(by);
    this.owner = null;
    for (const flight of this.flights) flight.void = true;
    this.resetting = true;
  }

  resetEnds(outcome: 'ok' | 'fail'): void {
    this.resetting = false;
    this.state = outcome === 'ok' ? RUNNING : ERROR;
  }

  report(by: number): MigrationState {
    if (!this.resetting) this.aborted.delete(by);
    return this.state;
  }

  leave(by: number): void {
    if (this.owner === by) this.owner = null;
    this.aborted.delete(by);
  }

  path(target: number): readonly MigrationState[] | null {
    try {
      return migrationMachine(this.flags).path(this.state, target);
    } catch {
      return null;
    }
  }

  #turn(by: number): string | null {
    const theirs = this.owner !== null && this.owner !== by;
    return theirs || this.flight !== null || this.resetting ? 'EBUSY' : null;
  }

  #go(flight: Flight): string {
    for (let next = this.#nextOf(flight); next !== undefined; next = this.#nextOf(flight)) {
      if (this.abandoned) return this.#end(flight, 'ETIMEDOUT');
      const outcome = flight.outcomes.shift() ?? 'ok';
      if (outcome === 'fail') return this.#end(flight, 'EPROTO');
      if (outcome === 'wait') {
        this.flights.push(flight);
        return 'waits';
      }
      this.state = next;
    }
    return this.#end(flight, 'ok');
  }

  #arrive(flight: Flight): string {
    this.state = this.#nextOf(flight) ?? this.state;
    return this.#go(flight);
  }

  #nextOf({ path }: Flight): MigrationState | undefined {
    return path[path.indexOf(this.state) + 1];
  }

  #end(flight: Flight, ending: string): string {
    if (this.state === RUNNING) this.owner = null;
    if (ending === 'ok') this.aborted.delete(flight.by);
    return ending;
  }
}

describe('several parties, in any order', () => {
  /** Does the same to the session and to the model, and compares. */
  async function run(flags: number, ops: readonly Op[]): Promise<void> {
    const device = new ScriptedMigration(flags);
    const migration = new MigrationSession<Party>(device, { arc() {}, settled() {} });
    const model = new Model(flags);
    const parties = Array.from({ length: PARTIES }, (_, i) => new Party(`${i}`));
    const who = (index: number): Party => parties[index] ?? new Party('nobody');
    const endings: string[] = [];

    const set = (by: Party, target: number): string => {
      try {
        const pending = migration.set(target, by);
        if (pending === undefined) return 'ok';
        pending.then(
          () => endings.push('ok'),
          (error: unknown) => endings.push(errnoOf(error)),
        );
        return 'waits';
      } catch (error) {
        return errnoOf(error);
      }
    };

    /** What the session answered, and what it should have. */
    const step = (each: Op): readonly [unknown, unknown] => {
      switch (each.kind) {
        case 'set':
          device.outcomes = [...each.outcomes];
          return [set(who(each.party), each.target), model.set(each.party, each.target, each.outcomes)];
        case 'settle':
          // The arcs that follow take what their own transition was given.
          device.outcomes = [...(model.flights[0]?.outcomes ?? [])];
          return [device.settle(each.outcome), model.settle(each.outcome)];
        case 'reset': {
          const busy = model.owner !== null && model.owner !== each.party;
          const turn = each.polite ? outcomeOf(() => migration.requireTurnToReset(who(each.party))) : 'ok';
          if (turn === 'ok') {
            migration.resetBegins(who(each.party));
            model.resetBegins(each.party);
          }
          return [turn, each.polite && busy ? 'EBUSY' : 'ok'];
        }
        case 'reset ends':
          if (!model.resetting) return [null, null];
          device.reset();
          if (each.outcome === 'ok') migration.wasReset();
          else migration.failed(new ServerError('ERR_WRONG_STATE', 'the device does not reset'));
          device.state = each.outcome === 'ok' ? RUNNING : ERROR;
          return [null, model.resetEnds(each.outcome) ?? null];
        case 'read':
          return [
            outcomeOf(() => migration.read(one, who(each.party))),
            model.transfer(each.party, 'saving'),
          ];
        case 'write':
          return [
            outcomeOf(() => migration.write(one, who(each.party))),
            model.transfer(each.party, 'resuming'),
          ];
        case 'info':
          return [
            outcomeOf(() => migration.precopyInfo(who(each.party))),
            model.transfer(each.party, 'saving', true),
          ];
        case 'report':
          return [migration.report(who(each.party)), model.report(each.party)];
        case 'leave':
          migration.leave(who(each.party));
          parties[each.party] = new Party(`${each.party}'`);
          return [null, model.leave(each.party) ?? null];
        case 'abandon':
          migration.abandon();
          model.abandoned = true;
          return [null, null];
      }
    };

    for (const each of ops) {
      const [is, should] = step(each);
      await flush();
      expect(is, JSON.stringify(each)).toEqual(should);
      expect(endings).toEqual(model.endings);
      expect(stateName(migration.state)).toBe(stateName(model.state));
      // The device and the server never disagree on where the device is, save while a reset is on its way.
      if (!model.resetting) expect(stateName(device.state)).toBe(stateName(migration.state));
      expect(migration.inTransition).toBe(model.flight !== null);
      expect(migration.owner).toBe(model.owner === null ? null : who(model.owner));
    }
  }

  it.each([1, 3, 5, 7])('agree with the model, with migration flags %i', async (flags) => {
    await fc.assert(
      fc.asyncProperty(fc.array(op, { minLength: 1, maxLength: 30 }), (ops) => run(flags, ops)),
      { numRuns: 700 },
    );
  });
});
