import { describe, expect, it } from 'vitest';
import { Errno, FerryError } from '../../src/errors/index.ts';
import {
  ArcError,
  MigrationState,
  migrationMachine,
  StateError,
  stateName,
  walk,
} from '../../src/states/index.ts';

const { ERROR, STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY, PRE_COPY_P2P } = MigrationState;

interface Case {
  readonly flags: number;
  readonly from: MigrationState;
  readonly path: readonly MigrationState[];
  readonly to: MigrationState;
}

function everyChange(): Case[] {
  const cases: Case[] = [];
  for (const flags of [1, 3, 5, 7]) {
    const machine = migrationMachine(flags);
    for (const from of machine.states) {
      for (const to of machine.states) {
        const blocked = from === STOP_COPY && (to === PRE_COPY || to === PRE_COPY_P2P);
        if (from === ERROR || to === ERROR || blocked) continue;
        cases.push({ flags, from, to, path: machine.path(from, to) });
      }
    }
  }
  return cases;
}

function caught(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

const cause = new FerryError('ERR_TEST', 'the device is stuck', { errno: Errno.EBUSY });

/** A device that records its arcs and fails on the arc at `failAt`; `pendingFrom` is the first step with a promise. */
function device(from: MigrationState, failAt: number, pendingFrom: number) {
  const log = {
    arcs: 0,
    state: from,
    step: (before: MigrationState, after: MigrationState): void | Promise<void> => {
      expect(before).toBe(log.state);
      const at = log.arcs++;
      const finish = () => {
        if (at === failAt) throw cause;
        log.state = after;
      };
      if (at < pendingFrom) return finish();
      return Promise.resolve().then(finish);
    },
  };
  return log;
}

describe('walk', () => {
  it.each(everyChange())('goes $from to $to with flags $flags, synchronously or not', async (change) => {
    const { flags, from, to, path } = change;
    for (let pendingFrom = 0; pendingFrom <= path.length; pendingFrom++) {
      const log = device(from, -1, pendingFrom);
      const result = walk(migrationMachine(flags), from, to, log.step);
      expect(result instanceof Promise).toBe(pendingFrom < path.length);
      await result;
      expect(log.state).toBe(to);
      expect(log.arcs).toBe(path.length);
    }
  });

  it.each(everyChange())(
    'reports the state reached when an arc of $from to $to fails, flags $flags',
    async (change) => {
      const { flags, from, to, path } = change;
      for (const [failAt, refused] of path.entries()) {
        for (let pendingFrom = 0; pendingFrom <= path.length; pendingFrom++) {
          const log = device(from, failAt, pendingFrom);
          const run = () => walk(migrationMachine(flags), from, to, log.step);
          const error = failAt < pendingFrom ? caught(run) : await rejection(run());
          const reached = path[failAt - 1] ?? from;
          expect(error).toBeInstanceOf(ArcError);
          expect(error).toMatchObject({ from, to, reached, refused, cause, errno: Errno.EBUSY });
          expect(log.state).toBe(reached);
          expect(log.arcs).toBe(failAt + 1);
        }
      }
    },
  );

  it('refuses before the first step', () => {
    const step = () => {
      throw new Error('a step was taken');
    };
    expect(caught(() => walk(migrationMachine(7), STOP_COPY, PRE_COPY, step))).toBeInstanceOf(StateError);
    expect(caught(() => walk(migrationMachine(7), ERROR, RUNNING, step))).toBeInstanceOf(StateError);
    expect(caught(() => walk(migrationMachine(1), RUNNING, PRE_COPY, step))).toBeInstanceOf(StateError);
  });
});

function rejection(result: void | Promise<void>): Promise<unknown> {
  if (result === undefined) throw new Error('the walk was synchronous');
  return result.then(
    () => {
      throw new Error('nothing was thrown');
    },
    (error: unknown) => error,
  );
}

describe('ArcError', () => {
  const fail = (thrown: unknown) =>
    caught(() =>
      walk(migrationMachine(7), RESUMING, RUNNING, () => {
        throw thrown;
      }),
    );

  it('says in one line what was asked, where it stopped and why', () => {
    const error = fail(new Error('the state is incomplete'));
    expect(error).toMatchObject({
      code: 'ERR_ARC_FAILED',
      message: 'RESUMING to RUNNING stopped in RESUMING: entering STOP failed: the state is incomplete',
      context: { from: 'RESUMING', to: 'RUNNING', reached: 'RESUMING', refused: stateName(STOP) },
    });
  });

  it.each([
    ['a FerryError', cause, Errno.EBUSY],
    ['a system error of Node', Object.assign(new Error('no space'), { errno: -28 }), Errno.ENOSPC],
    ['an error without errno', new Error('unknown'), Errno.EIO],
    ['an errno that is no number', { errno: 'EINVAL' }, Errno.EIO],
    ['an errno of 0', { errno: 0 }, Errno.EIO],
    ['no error at all', 'text', Errno.EIO],
    ['null', null, Errno.EIO],
  ])('takes the errno of %s', (_what, thrown, errno) => {
    expect(fail(thrown)).toMatchObject({ errno, cause: thrown });
  });
});
