import { type MigrateOptions, MigrationError, migrate } from '../../src/engine/index.ts';
import { FakeClock } from './fake-clock.ts';
import { World, type WorldOptions } from './fake-world.ts';

/** Two devices whose time stands still. */
export function newWorld(options: WorldOptions = {}): World {
  return new World(new FakeClock(), options);
}

/** Migrates from the world's source to its destination. */
export function move(world: World, options: MigrateOptions = {}) {
  return migrate(world.source, world.destination, { clock: world.clock, ...options });
}

/** Migrates, and expects that to fail. */
export async function failure(world: World, options: MigrateOptions = {}): Promise<MigrationError> {
  const error = await move(world, options).then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof MigrationError)) throw new Error(`expected a MigrationError, got ${String(error)}`);
  return error;
}

/** The states that an end was asked to go to. */
export function requested(world: World, end: string): string[] {
  return world.calls
    .filter((call) => call.end === end && call.what.startsWith('setState'))
    .map((call) => call.what.slice('setState '.length));
}

/** States as {@link requested} has them. */
export const names = (...states: number[]): string[] => states.map(String);
