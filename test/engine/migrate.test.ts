import { describe, expect, it, vi } from 'vitest';
import type { MigrationProgress } from '../../src/engine/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { failure, move, names, newWorld, requested } from './moves.ts';

const { STOP, RUNNING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, STOP_COPY, RESUMING } = MigrationState;

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
  it('come at their moments: before the source stops saving alive, and while both stand still', async () => {
    const world = newWorld();
    const seen: string[] = [];
    const look = (name: string) => () => {
      seen.push(`${name} ${world.source.deviceState} ${world.destination.deviceState}`);
    };
    await move(world, { hooks: { beforeStop: look('beforeStop'), beforeRun: look('beforeRun') } });
    expect(seen).toEqual([`beforeStop ${PRE_COPY} ${RESUMING}`, `beforeRun ${STOP_COPY} ${STOP}`]);
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
    expect(error).toMatchObject({ owner: 'source', phase: 'verify' });
    expect(world.source.runsGuest).toBe(true);
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

  it('while the destination takes its time brings the source back at once', async () => {
    const world = newWorld();
    const controller = new AbortController();
    const seen: string[] = [];
    const beforeRun = async (): Promise<void> => {
      controller.abort();
      while (!seen.includes('resumed')) await new Promise((resolve) => setImmediate(resolve));
      seen.push('the hook returns');
    };
    const hooks = { beforeRun, resume: () => void seen.push('resumed') };
    const error = await failure(world, { signal: controller.signal, hooks });
    expect(error).toMatchObject({ code: 'ERR_MIGRATION_CANCELLED', owner: 'source', phase: 'verify' });
    expect(seen).toEqual(['resumed', 'the hook returns']);
    expect(world.destination).toMatchObject({ content: null, deviceState: RUNNING });
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
      'clean-up',
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
    expect(report.phases.find((each) => each.phase === 'verify')?.durationMs).toBe(12);
  });

  it('tells each phase once at least, with bytes that only grow', async () => {
    const world = newWorld();
    const seen: MigrationProgress[] = [];
    await move(world, { onProgress: (progress) => seen.push(progress) });
    expect(new Set(seen.map((each) => each.phase)).size).toBe(9);
    const bytes = seen.map((each) => each.bytes);
    expect(bytes).toEqual([...bytes].sort((a, b) => a - b));
  });

  it('survives a listener that throws, with a warning', async () => {
    const world = newWorld();
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const onProgress = () => {
      throw new Error('the terminal is gone');
    };
    await expect(move(world, { onProgress })).resolves.toMatchObject({ owner: 'destination' });
    expect(warn).toHaveBeenCalledWith(expect.objectContaining({ message: 'the terminal is gone' }));
    warn.mockRestore();
  });
});
