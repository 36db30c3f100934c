import { ArcError } from './arc-error.ts';
import type { MigrationMachine } from './machine.ts';
import type { MigrationState } from './migration-state.ts';

/** Carries out one arc on the device. Throws or rejects when the device can't. */
export type ArcStep = (from: MigrationState, to: MigrationState) => void | Promise<void>;

/**
 * Takes a device from `from` to `to`, one arc after the other. Answers synchronously as long as every step does, and
 * with a promise from the first step on that returns one. Throws StateError EINVAL, before any step, when the change
 * is refused; {@link ArcError}, with the state reached, when a step fails. No step follows a failed one.
 */
export function walk(
  machine: MigrationMachine,
  from: MigrationState,
  to: MigrationState,
  step: ArcStep,
): void | Promise<void> {
  const path = machine.path(from, to);
  let reached = from;
  for (const [index, next] of path.entries()) {
    let pending: void | Promise<void>;
    try {
      pending = step(reached, next);
    } catch (cause) {
      throw new ArcError({ from, to, reached, refused: next, cause });
    }
    if (pending !== undefined) return walkOn(pending, path, index, { from, to, reached, step });
    reached = next;
  }
}

interface Journey {
  readonly from: MigrationState;
  readonly to: MigrationState;
  readonly reached: MigrationState;
  readonly step: ArcStep;
}

/** The rest of a walk whose step at `index` is still pending. */
async function walkOn(
  first: Promise<void>,
  path: readonly MigrationState[],
  index: number,
  journey: Journey,
): Promise<void> {
  const { from, to, step } = journey;
  let { reached } = journey;
  let pending: void | Promise<void> = first;
  for (const [at, next] of path.entries()) {
    if (at < index) continue;
    try {
      if (at > index) pending = step(reached, next);
      await pending;
    } catch (cause) {
      throw new ArcError({ from, to, reached, refused: next, cause });
    }
    reached = next;
  }
}
