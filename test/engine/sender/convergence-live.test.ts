import { describe, expect, it } from 'vitest';
import { type MigrateOptions, MigrationControl, type MigrationProgress } from '../../../src/engine/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import type { World, WorldOptions } from '../fake-world.ts';
import { failure, move, names, newWorld, requested } from '../moves.ts';

const { STOP, RUNNING, PRE_COPY, PRE_COPY_P2P, STOP_COPY, RESUMING } = MigrationState;

/** A guest that writes as fast as its device is read: there is always a megabyte left. */
function busyWorld(options: WorldOptions = {}): World {
  const world = newWorld(options);
  const { source } = world;
  const read = source.read.bind(source);
  source.precopyInfo = async () => ({ initialBytes: 0n, dirtyBytes: 1_000_000n });
  source.read = (max, consume) => {
    world.clock.advance(10);
    return read(max, consume);
  };
  return world;
}

describe('a guest that writes faster than its device is moved', () => {
  it('ends with a message that says what to change; it was never stopped', async () => {
    const world = busyWorld();
    const stopped: string[] = [];
    const error = await failure(world, { hooks: { beforeStop: () => void stopped.push('stopped') } });
    expect(error).toMatchObject({ code: 'ERR_NOT_CONVERGING', owner: 'source', phase: 'pre-copy' });
    expect(error.message).toContain('have left no less than before; 1000000 bytes are left');
    expect(error.message).toContain('Allow a longer downtime');
    expect(stopped).toEqual([]);
    expect(world.source.runsGuest).toBe(true);
  });

  it('is switched all the same when told so', async () => {
    const report = await move(busyWorld(), { limits: { whenNotConverging: 'switch' } });
    expect(report).toMatchObject({ owner: 'destination', convergence: 'stalled' });
    expect(report.timeline.rounds.length).toBe(report.iterations);
  });

  it('is switched within fewer rounds when only those are allowed', async () => {
    const limits = { whenNotConverging: 'switch', maxIterations: 2 } as const;
    expect(await move(busyWorld(), { limits })).toMatchObject({ convergence: 'iterations', iterations: 2 });
  });

  it('is switched when the limit is raised while it runs', async () => {
    const control = new MigrationControl();
    const onProgress = ({ phase }: MigrationProgress) => {
      if (phase === 'pre-copy') control.setLimits({ downtimeMs: 10_000_000 });
    };
    const report = await move(busyWorld(), { control, onProgress });
    expect(report).toMatchObject({ convergence: 'small', limits: { downtimeMs: 10_000_000 } });
  });
});

describe('a hand on a migration', () => {
  it('knows nothing before it starts', () => {
    expect(new MigrationControl().status()).toBeNull();
  });

  it('holds it before the switch, tells how it stands, and lets it go', async () => {
    const world = newWorld();
    const control = new MigrationControl();
    control.pauseBeforeSwitch();
    const moved = move(world, { control });
    await waiting(control);
    expect(control.status()).toMatchObject({ phase: 'pre-copy', waiting: true, limits: { downtimeMs: 300 } });
    expect(requested(world, 'source')).toEqual(names(PRE_COPY));
    control.resume();
    await expect(moved).resolves.toMatchObject({ owner: 'destination' });
  });

  it('holds it also when it does not converge, until the limits are others', async () => {
    const control = new MigrationControl();
    control.pauseBeforeSwitch();
    const moved = move(busyWorld(), { control });
    await waiting(control);
    control.setLimits({ downtimeMs: 10_000_000 });
    control.resume();
    await expect(moved).resolves.toMatchObject({ owner: 'destination', convergence: 'small' });
  });

  it('goes on when it is let go although nothing has changed, and ends as it would have', async () => {
    const control = new MigrationControl();
    control.pauseBeforeSwitch();
    const error = failure(busyWorld(), { control });
    await waiting(control);
    control.resume();
    expect(await error).toMatchObject({ code: 'ERR_NOT_CONVERGING', owner: 'source' });
  });

  it('cancels it while it waits: the source runs on', async () => {
    const world = newWorld();
    const control = new MigrationControl();
    control.pauseBeforeSwitch();
    const error = failure(world, { control });
    await waiting(control);
    control.cancel();
    expect(await error).toMatchObject({ code: 'ERR_MIGRATION_CANCELLED', owner: 'source' });
    expect(world.source.runsGuest).toBe(true);
  });

  it('goes back when the VMM of the destination has reset it meanwhile', async () => {
    const world = newWorld();
    const control = new MigrationControl();
    control.pauseBeforeSwitch();
    const error = failure(world, { control });
    await waiting(control);
    world.destination.resetByVmm();
    control.resume();
    expect(await error).toMatchObject({ code: 'ERR_SESSION_ABORTED', owner: 'source' });
  });
});

async function waiting(control: MigrationControl): Promise<void> {
  while (control.status()?.waiting !== true) await new Promise((resolve) => setImmediate(resolve));
}

describe('a device that begins anew after the guest has stopped', () => {
  it('has the guest run on, moves what is new, and stops it again', async () => {
    const world = newWorld();
    const { source } = world;
    const precopyInfo = source.precopyInfo.bind(source);
    const seen: string[] = [];
    let anew = true;
    source.precopyInfo = async () => {
      const info = await precopyInfo();
      if (!anew || !seen.includes('stop')) return info;
      anew = false;
      return { initialBytes: 8n, dirtyBytes: 0n, reinitialized: true };
    };
    const hooks = {
      beforeStop: () => void seen.push('stop'),
      resume: () => void seen.push(`resume in ${source.deviceState}`),
    };
    const report = await move(world, { hooks });
    expect(seen).toEqual(['stop', `resume in ${PRE_COPY}`, 'stop']);
    expect(report.owner).toBe('destination');
    expect(requested(world, 'source')).toEqual(names(PRE_COPY, PRE_COPY_P2P, STOP_COPY, STOP));
    expect(report.phases.filter(({ phase }) => phase === 'pre-copy').length).toBe(2);
  });

  it('again and again ends with a clear message', async () => {
    const world = newWorld();
    world.source.precopyInfo = async () => ({ initialBytes: 8n, dirtyBytes: 0n, reinitialized: true });
    const error = await failure(world);
    expect(error).toMatchObject({ code: 'ERR_NOT_CONVERGING', owner: 'source' });
    expect(world.source.runsGuest).toBe(true);
  });
});

describe('a device that can not tell its size', () => {
  const slowToStop = (): World => {
    const world = newWorld({ estimates: false });
    const { source } = world;
    const read = source.read.bind(source);
    source.read = async (max, consume) => {
      if (source.deviceState !== STOP_COPY) return read(max, consume);
      await new Promise((resolve) => setImmediate(resolve));
      world.clock.advance(200);
      return read(max, consume);
    };
    return world;
  };

  it('is rolled back when the guest has stood still for too long', async () => {
    const world = slowToStop();
    const error = await failure(world, { window: 1 });
    expect(error).toMatchObject({ code: 'ERR_DOWNTIME_LIMIT', owner: 'source', phase: 'stop-copy' });
    expect(world.source.runsGuest).toBe(true);
  });

  it('is moved however long it takes when that is allowed', async () => {
    const limits = { allowUnknownSize: true };
    await expect(move(slowToStop(), { window: 1, limits })).resolves.toMatchObject({ owner: 'destination' });
  });
});

describe('a guest that is paused', () => {
  const pausedWorld = (): World => {
    const world = newWorld();
    world.source.deviceState = STOP;
    return world;
  };
  const paused: MigrateOptions = { paused: true };

  it('is moved without pre-copy and without hooks for vCPUs, and stays paused', async () => {
    const world = pausedWorld();
    const seen: string[] = [];
    const tell = (name: string) => () => void seen.push(name);
    const hooks = {
      beforeStop: tell('beforeStop'),
      beforeRun: tell('beforeRun'),
      afterRun: tell('afterRun'),
    };
    const report = await move(world, { ...paused, hooks });
    expect(requested(world, 'source')).toEqual(names(STOP_COPY, STOP));
    expect(requested(world, 'destination')).toEqual(names(RESUMING, STOP));
    expect(world.destination).toMatchObject({ deviceState: STOP, content: 'the guest' });
    expect(seen).toEqual(['beforeRun']);
    expect(report).toMatchObject({ iterations: 0, convergence: null });
  });

  it('is refused unless that is said, with a hint', async () => {
    const error = await failure(pausedWorld());
    expect(error).toMatchObject({ code: 'ERR_MIGRATION_REFUSED', owner: 'in doubt' });
    expect(error.message).toContain('if its guest is paused and stays so, say that');
  });

  it('goes back to STOP when it can not be moved', async () => {
    const world = pausedWorld();
    const hooks = {
      beforeRun: () => {
        throw new Error('no');
      },
    };
    const error = await failure(world, { ...paused, hooks });
    expect(error).toMatchObject({ owner: 'source', sourceState: STOP });
    expect(error.message).toContain('The device stays at the source');
    expect(requested(world, 'source')).toEqual(names(STOP_COPY, STOP));
  });

  it('whose device runs gets it running', async () => {
    const world = newWorld();
    await move(world, paused);
    expect(world.destination.deviceState).toBe(RUNNING);
    expect(requested(world, 'source')).not.toContain(String(PRE_COPY));
  });
});
