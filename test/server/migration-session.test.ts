import { describe, expect, it } from 'vitest';
import { Errno, errnoName } from '../../src/errors/index.ts';
import { MigrationSession } from '../../src/server/migration-session.ts';
import { MigrationState, stateName } from '../../src/states/index.ts';
import { errnoOf, outcomeOf, Party } from './migration-parties.ts';
import { arcFailure, ScriptedMigration } from './scripted-migration.ts';

const { ERROR, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P } = MigrationState;
const { EIO, ENODEV, ENOTTY, EPROTO, ETIMEDOUT } = Errno;

function session(flags: number) {
  const device = new ScriptedMigration(flags);
  const events: string[] = [];
  const migration = new MigrationSession<Party>(device, {
    arc: (from, to, by) => events.push(`${by.name}: ${stateName(from)}>${stateName(to)}`),
    departs: () => {},
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
      expect(outcomeOf(() => migration.requireMay('reset', b))).toBe('EBUSY');
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
    expect(outcomeOf(() => migration.requireMay('reset', a))).toBe('ok');
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
