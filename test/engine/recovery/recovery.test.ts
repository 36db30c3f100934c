import { describe, expect, it, vi } from 'vitest';
import { Errno, FerryError } from '../../../src/errors/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import type { World } from '../fake-world.ts';
import { failure, names, newWorld, requested } from '../moves.ts';

const { STOP, RUNNING, PRE_COPY } = MigrationState;

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
    expect(error).toMatchObject({ owner: 'in doubt', phase: 'switch', sourceState: RUNNING });
    expect(error.message).toContain('it may hold the only copy');
    expect(world.destination).toMatchObject({ content: 'the guest', deviceState: STOP });
  });

  it('kills the source while it goes back: what the destination was given is kept, for it is the only copy', async () => {
    const world = newWorld();
    const { source } = world;
    const hooks = {
      beforeRun: () => {
        const setState = source.setState.bind(source);
        source.setState = async (state) => {
          source.alive = false;
          source.connected = false;
          await setState(state);
        };
        throw new Error('no room for its DMA maps');
      },
    };
    const error = await failure(world, { hooks });
    expect(error).toMatchObject({
      owner: 'in doubt',
      phase: 'verify',
      sourceState: null,
      destinationState: STOP,
    });
    expect(error.message).toContain('it may hold the only copy');
    expect(world.destination).toMatchObject({ content: 'the guest', deviceState: STOP, resets: 0 });
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
    expect(error).toMatchObject({ code: 'ERR_SESSION_ABORTED', owner: 'source', phase: 'verify' });
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

it('writes paths in next steps as they are typed', async () => {
  const world = newWorld();
  world.destination.setState = () => Promise.reject(new Error('gone'));
  world.destination.reset = () => Promise.reject(new Error('gone'));
  Object.defineProperty(world.destination, 'name', { value: "/tmp/it's here.sock" });
  const { nextSteps } = await failure(world);
  expect(nextSteps).toEqual([`ferry state '/tmp/it'\\''s here.sock' --reset`]);
});
