import { DeclaredMigration, type MigrationServices, RunLevel } from '../../device/index.ts';
import { chain } from './later.ts';
import type { NamespaceBackend } from './namespace.ts';

/** What decides about the backend. */
export interface NamespaceUse {
  readonly backend: NamespaceBackend;
  /** Whether the controller needs the backend: a guest has enabled it. */
  readonly needed: () => boolean;
  /** Whether another process of this host goes on with what is open. */
  readonly handingOver: () => boolean;
  /** Throws when a state that was loaded does not suit. */
  readonly check: () => void;
}

/**
 * A migration that hands over the backend as well: before the device stops, everything is durable and released, so
 * that the other side may open it; before it runs again, it is taken. What refuses leaves the device where it is.
 */
export function namespaceMigration(
  services: MigrationServices,
  { backend, needed, handingOver, check }: NamespaceUse,
): DeclaredMigration {
  let released = false;
  const quiesce = () => {
    if (handingOver()) return;
    released = true;
    return backend.quiesce();
  };
  const resume = () => {
    if (!released || !needed()) return;
    return chain(backend.resume(), () => {
      released = false;
    });
  };
  return new DeclaredMigration({
    ...services,
    setLevel: (level) => {
      check();
      const ready = level === RunLevel.STOPPED ? quiesce() : resume();
      const changed = chain(ready, () => services.setLevel(level));
      // A migration that goes back to where it was looks at no promise; one that is rejected must not be nobody's.
      if (changed instanceof Promise) changed.catch(() => {});
      return changed;
    },
  });
}
