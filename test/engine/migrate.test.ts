import { describe, expect, it, vi } from 'vitest';
import {
  type MigrateOptions,
  MigrationError,
  type MigrationProgress,
  migrate,
} from '../../src/engine/index.ts';
import { Errno, FerryError } from '../../src/errors/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { FakeClock } from './fake-clock.ts';
import { World, type WorldOptions } from './fake-world.ts';

const { STOP, RUNNING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, STOP_COPY, RESUMING } = MigrationState;

function newWorld(options: WorldOptions = {}): World {
  return new World(new FakeClock(), options);
}

function move(world: World, options: MigrateOptions = {}) {
  return migrate(world.source, world.destination, { clock: world.clock, ...options });
}

async function failure(world: World, options: MigrateOptions = {}): Promise<MigrationError> {
  const error = await move(world, options).then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof MigrationError)) throw new Error(`expected a MigrationError, got ${String(error)}`);
  return error;
}

function requested(world: World, end: string): string[] {
  return world.calls
    .filter((call) => call.end === end && call.what.startsWith('setState'))
    .map((call) => call.what.slice('setState '.length));
}

const names = (...states: number[]): string[] => states.map(String);

describe('the states that a migration goes through', () => {
  const cases = [
    {
      flags: 7n,
      source: [PRE_COPY, PRE_COPY_P2P, STOP_COPY, STOP],
      destination: [RESUMING, STOP, RUNNING_P2P, RUNNING],
    },
    { flags: 5n, source: [PRE_COPY, STOP_COPY, STOP], destination: [RESUMING, STOP, RUNNING] },
    {
      flags: 3n,
      source: [RUNNING_P2P, STOP_COPY, STOP],
      destination: [RESUMING, STOP, RUNNING_P2P, RUNNING],
    },
    { flags: 1n, source: [STOP_COPY, STOP], destination: [RESUMING, STOP, RUNNING] },
  ];
  it.each(cases)('with flags $flags on both ends', async ({ flags, source, destination }) => {
    const world = newWorld({ sourceFlags: flags, destinationFlags: flags });
    const report = await move(world);
    expect(requested(world, 'source')).toEqual(names(...source));
    expect(requested(world, 'destination')).toEqual(names(...destination));
    expect(report.owner).toBe('destination');
    expect(world.destination.runsGuest).toBe(true);
    expect(world.source.deviceState).toBe(STOP);
    expect(world.violation).toBeNull();
  });

  it('goes without PRE_COPY when only one end has it', async () => {
    const world = newWorld({ destinationFlags: 3n });
    const report = await move(world);
    expect(requested(world, 'source')).toEqual(names(RUNNING_P2P, STOP_COPY, STOP));
    expect(report).toMatchObject({ iterations: 0, convergence: null, bytes: { preCopy: 0, stopCopy: 32 } });
  });

  it('goes without PRE_COPY when told to', async () => {
    const world = newWorld();
    await move(world, { preCopy: false });
    expect(requested(world, 'source')).toEqual(names(RUNNING_P2P, STOP_COPY, STOP));
  });

  it('takes P2P of each end by itself', async () => {
    const world = newWorld({ sourceFlags: 5n, destinationFlags: 7n });
    await move(world);
    expect(requested(world, 'source')).toEqual(names(PRE_COPY, STOP_COPY, STOP));
    expect(requested(world, 'destination')).toEqual(names(RESUMING, STOP, RUNNING_P2P, RUNNING));
  });
});

describe('the hooks', () => {
  it('come at their moments: before the source stops saving alive, and between its STOP and RUNNING', async () => {
    const world = newWorld();
    const seen: string[] = [];
    const look = (name: string) => () => {
      seen.push(`${name} ${world.source.deviceState} ${world.destination.deviceState}`);
    };
    await move(world, { hooks: { beforeStop: look('beforeStop'), beforeRun: look('beforeRun') } });
    expect(seen).toEqual([`beforeStop ${PRE_COPY} ${RESUMING}`, `beforeRun ${STOP} ${STOP}`]);
  });

  it.each(['beforeStop', 'beforeRun'] as const)('%s that throws brings the source back', async (name) => {
    const world = newWorld();
    const error = await failure(world, {
      hooks: {
        [name]: () => {
          throw new Error('the VMM said no');
        },
      },
    });
    expect(error).toMatchObject({ code: 'ERR_MIGRATION_FAILED', owner: 'source', sourceState: RUNNING });
    expect(error.message).toContain(`the hook ${name} failed: the VMM said no`);
    expect(world.source.runsGuest).toBe(true);
    expect(world.destination.resets).toBe(1);
  });

  it('that never returns is a time-out', async () => {
    const world = newWorld();
    const hang = (): Promise<void> => {
      setImmediate(() => world.clock.advance(10_000));
      return new Promise(() => {});
    };
    const error = await failure(world, { hooks: { beforeRun: hang } });
    expect(error.message).toContain('the hook beforeRun took more than 5000 ms');
    expect(error).toMatchObject({ owner: 'source', phase: 'switch' });
    expect(world.source.runsGuest).toBe(true);
  });
});

describe('what is refused before anything changes', () => {
  const cases: { name: string; prepare: (world: World) => void; options?: WorldOptions; message: RegExp }[] =
    [
      {
        name: 'a source that can not migrate',
        prepare() {},
        options: { sourceFlags: null },
        message: /source can't/,
      },
      {
        name: 'a destination that can not migrate',
        prepare() {},
        options: { destinationFlags: null },
        message: /destination can't/,
      },
      {
        name: 'flags without STOP_COPY',
        prepare() {},
        options: { sourceFlags: 6n },
        message: /STOP_COPY is missing/,
      },
      {
        name: 'a source that does not run',
        prepare: (world) => {
          world.source.deviceState = STOP;
        },
        message: /source is in STOP/,
      },
      {
        name: 'a destination that does not run',
        prepare: (world) => {
          world.destination.deviceState = RESUMING;
        },
        message: /destination is in RESUMING/,
      },
      {
        name: 'a state of the future',
        prepare: (world) => {
          world.source.deviceState = 9;
        },
        message: /unknown state 9/,
      },
      {
        name: 'a busy destination',
        prepare: (world) => {
          world.destination.busy = 'another controller has a session';
        },
        message: /destination is busy: another controller/,
      },
      {
        name: 'another kind of device',
        prepare: (world) => {
          world.destination.identity = { vendor: 1, device: 3 };
        },
        message: /device is 0x2 at the source and 0x3 at the destination/,
      },
    ];
  it.each(cases)('$name', async ({ prepare, options, message }) => {
    const world = newWorld(options);
    prepare(world);
    const error = await failure(world);
    expect(error.code).toBe('ERR_MIGRATION_REFUSED');
    expect(error.message).toMatch(message);
    expect(error.message).toContain('Nothing was changed');
    expect(requested(world, 'source')).toEqual([]);
    expect(requested(world, 'destination')).toEqual([]);
    expect(world.destination.resets).toBe(0);
  });

  it('the same device twice', async () => {
    const world = newWorld();
    const error = await migrate(world.source, world.source).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'ERR_MIGRATION_REFUSED', owner: 'source' });
  });

  it('does not compare what only one end tells', async () => {
    const world = newWorld();
    world.source.identity = { vendor: 1 };
    world.destination.identity = null;
    await expect(move(world)).resolves.toMatchObject({ owner: 'destination' });
  });

  it('tells in doubt when the source was not running: a finished migration may have moved the device', async () => {
    const world = newWorld();
    await move(world);
    expect(await failure(world)).toMatchObject({ code: 'ERR_MIGRATION_REFUSED', owner: 'in doubt' });
  });
});

describe('cancelling', () => {
  it('before it starts changes nothing', async () => {
    const world = newWorld();
    const error = await failure(world, { signal: AbortSignal.abort() });
    expect(error).toMatchObject({ code: 'ERR_MIGRATION_CANCELLED', owner: 'source' });
    expect(requested(world, 'destination')).toEqual([]);
  });

  it.each(['prepare', 'pre-copy', 'stop', 'stop-copy', 'verify', 'switch'])(
    'in phase %s brings the source back and resets the destination',
    async (phase) => {
      const world = newWorld();
      const controller = new AbortController();
      const onProgress = (progress: MigrationProgress) => {
        if (progress.phase === phase) controller.abort();
      };
      const error = await failure(world, { signal: controller.signal, onProgress });
      expect(error).toMatchObject({ code: 'ERR_MIGRATION_CANCELLED', owner: 'source' });
      expect(world.source.runsGuest).toBe(true);
      expect(world.destination).toMatchObject({ content: null, deviceState: RUNNING });
    },
  );

  it('has no effect once the destination has been asked to run', async () => {
    const world = newWorld();
    const controller = new AbortController();
    const onProgress = (progress: MigrationProgress) => {
      if (progress.phase === 'run') controller.abort();
    };
    await expect(move(world, { signal: controller.signal, onProgress })).resolves.toMatchObject({
      owner: 'destination',
    });
  });

  it('during the last hook is noticed before the destination is asked to run', async () => {
    const world = newWorld();
    const controller = new AbortController();
    const error = await failure(world, {
      signal: controller.signal,
      hooks: { beforeRun: () => controller.abort() },
    });
    expect(error).toMatchObject({ code: 'ERR_MIGRATION_CANCELLED', owner: 'source' });
    expect(requested(world, 'destination')).toEqual(names(RESUMING, STOP));
  });
});

describe('the report and the progress', () => {
  it('counts bytes by phase and names the phases in order', async () => {
    const world = newWorld({ preCopyChunks: 3, stopCopyChunks: 2 });
    const report = await move(world);
    expect(report.bytes).toEqual({ total: 40, preCopy: 24, stopCopy: 16 });
    expect(report.phases.map((each) => each.phase)).toEqual([
      'check',
      'prepare',
      'pre-copy',
      'stop',
      'stop-copy',
      'verify',
      'switch',
      'run',
    ]);
    expect(report).toMatchObject({ iterations: 1, convergence: 'small', source: 'source' });
  });

  it('measures the downtime from the request to stop the guest until the destination runs', async () => {
    const world = newWorld();
    const report = await move(world, {
      hooks: { beforeStop: () => world.clock.advance(30), beforeRun: () => world.clock.advance(12) },
    });
    expect(report.downtimeMs).toBe(42);
    expect(report.totalMs).toBe(42);
    expect(report.phases.find((each) => each.phase === 'switch')?.durationMs).toBe(12);
  });

  it('tells each phase once at least, with bytes that only grow', async () => {
    const world = newWorld();
    const seen: MigrationProgress[] = [];
    await move(world, { onProgress: (progress) => seen.push(progress) });
    expect(new Set(seen.map((each) => each.phase)).size).toBe(8);
    const bytes = seen.map((each) => each.bytes);
    expect(bytes).toEqual([...bytes].sort((a, b) => a - b));
  });

  it('survives a listener that throws', async () => {
    const world = newWorld();
    const warnings: unknown[] = [];
    const listen = (warning: unknown) => warnings.push(warning);
    process.on('warning', listen);
    try {
      const onProgress = () => {
        throw new Error('the terminal is gone');
      };
      await expect(move(world, { onProgress })).resolves.toMatchObject({ owner: 'destination' });
      await new Promise((resolve) => setImmediate(resolve));
      expect(warnings.length).toBeGreaterThan(0);
    } finally {
      process.off('warning', listen);
    }
  });
});

describe('a source that its VMM resets during the migration', () => {
  it('is a clear error, and runs on', async () => {
    const world = newWorld();
    let resets = 0;
    const error = await failure(world, {
      onProgress: (progress) => {
        if (progress.phase !== 'stop' || resets > 0) return;
        resets += 1;
        world.source.resetByVmm();
      },
    });
    expect(error).toMatchObject({ code: 'ERR_SESSION_ABORTED', owner: 'source', phase: 'stop' });
    expect(error.message).toContain('somebody else has reset it');
    expect(world.source.runsGuest).toBe(true);
    expect(world.destination.resets).toBe(1);
  });
});

describe('somebody else who gets at a device that is stopped', () => {
  it('resets the source when its state has been moved: the only copy is kept', async () => {
    const world = newWorld();
    const original = world.destination.setState.bind(world.destination);
    world.destination.setState = async (state) => {
      await original(state);
      if (state === STOP) world.source.resetByVmm();
    };
    const error = await failure(world);
    expect(error).toMatchObject({ owner: 'in doubt', phase: 'verify', sourceState: RUNNING });
    expect(error.message).toContain('it may hold the only copy');
    expect(world.destination).toMatchObject({ content: 'the guest', deviceState: STOP });
  });

  it('lets the destination run before it was asked: the source waits until it has been reset', async () => {
    const world = newWorld();
    const original = world.destination.setState.bind(world.destination);
    world.destination.setState = async (state) => {
      await original(state);
      if (state === STOP) world.destination.deviceState = RUNNING;
    };
    expect(await failure(world)).toMatchObject({ owner: 'source', phase: 'verify' });
    expect(world.violation).toBeNull();
    expect(world.source.runsGuest).toBe(true);
    expect(world.destination.content).toBeNull();
  });

  it('resets the destination while the VMM attaches there: the source goes on', async () => {
    const world = newWorld();
    const error = await failure(world, { hooks: { beforeRun: () => world.destination.resetByVmm() } });
    expect(error).toMatchObject({ code: 'ERR_SESSION_ABORTED', owner: 'source', phase: 'switch' });
    expect(world.source.runsGuest).toBe(true);
  });
});

describe('what another controller holds', () => {
  const holding = (world: World, end: 'source' | 'destination') => {
    world[end].setState = () => {
      throw new FerryError('ERR_SESSION_BUSY', 'another controller has the session', { errno: Errno.EBUSY });
    };
    world[end].setState = vi.fn(world[end].setState);
    return world[end].setState;
  };

  it('at the destination is left alone, and the source is brought back', async () => {
    const world = newWorld();
    holding(world, 'destination');
    const error = await failure(world);
    expect(error).toMatchObject({ owner: 'source', phase: 'prepare', errno: Errno.EBUSY });
    expect(world.destination.resets).toBe(0);
    expect(requested(world, 'source')).toEqual(names(PRE_COPY, RUNNING));
  });

  it('at the source is left alone, and the destination was never touched', async () => {
    const world = newWorld();
    const setState = holding(world, 'source');
    const error = await failure(world);
    expect(error).toMatchObject({ owner: 'source', phase: 'prepare' });
    expect(error.message).toContain('Nothing was changed');
    expect(setState).toHaveBeenCalledTimes(1);
    expect(requested(world, 'destination')).toEqual([]);
    expect(world.destination.resets).toBe(0);
  });
});

describe('one device under two names', () => {
  it.each([true, false])('is noticed before anything is lost, with pre-copy %s', async (preCopy) => {
    const world = newWorld();
    const { source } = world;
    const alias = new Proxy(source, {
      get: (target, key) => {
        const value: unknown = key === 'name' ? 'another name' : Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const error = await migrate(source, alias, { clock: world.clock, preCopy }).catch(
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ code: 'ERR_MIGRATION_REFUSED', owner: 'source', sourceState: RUNNING });
    expect(String(error)).toContain('both names lead to the same device');
    expect(source).toMatchObject({ runsGuest: true, resets: 0 });
  });
});

it('writes paths in next steps as they are typed', async () => {
  const world = newWorld();
  world.destination.setState = () => Promise.reject(new Error('gone'));
  world.destination.reset = () => Promise.reject(new Error('gone'));
  Object.defineProperty(world.destination, 'name', { value: "/tmp/it's here.sock" });
  const { nextSteps } = await failure(world);
  expect(nextSteps).toEqual([`ferry state '/tmp/it'\\''s here.sock' --reset`]);
});
