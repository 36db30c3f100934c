import { describe, expect, it } from 'vitest';
import { migrate } from '../../../src/engine/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import type { World, WorldOptions } from '../fake-world.ts';
import { failure, move, newWorld, requested } from '../moves.ts';

const { STOP, RUNNING, RESUMING } = MigrationState;

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
