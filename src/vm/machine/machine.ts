import { listIn, listOf, member, textIn } from '../json.ts';
import { qmp, type VmSequence } from '../step.ts';

/** How a piece of guest memory is made (query-memdev, and the type of the object). */
export interface MemoryBackend {
  readonly id: string;
  /** Such as `memory-backend-memfd`. */
  readonly type: string;
  readonly share: boolean;
  /** Bytes. */
  readonly size: number;
}

/** What a VMM says of its machine. */
export interface Machine {
  /** Such as [11, 1, 3]. */
  readonly version: readonly [number, number, number];
  /** Such as `pc-q35-11.1`. */
  readonly type: string;
  /** Of the VM: `running`, `inmigrate` and so on (RunState in qapi/run-state.json). */
  readonly status: string;
  readonly cpus: number;
  /** Bytes of guest memory that the machine was started with. */
  readonly memory: number;
  readonly backends: readonly MemoryBackend[];
  /** Types of IOMMUs that the guest has. */
  readonly iommus: readonly string[];
  /** How QEMU's own migration stands (MigrationStatus in qapi/migration.json); `none` when there was none. */
  readonly migration: string;
  /** What keeps QEMU from migrating. */
  readonly blockers: readonly string[];
  /** Capabilities of its migration that are on. */
  readonly capabilities: readonly string[];
}

/** Asks a VMM for all of it. Changes nothing. */
export function* readMachine(): VmSequence<Machine> {
  const version = member(yield* qmp('query-version'), 'qemu');
  const number = (name: string): number => Number(member(version, name) ?? 0);
  const type = yield* qmp('qom-get', { path: '/machine', property: 'type' });
  const migration = yield* qmp('query-migrate');
  return {
    version: [number('major'), number('minor'), number('micro')],
    type: String(type).replace(/-machine$/, ''),
    status: yield* runState(),
    cpus: listOf(yield* qmp('query-cpus-fast')).length,
    memory: Number(member(yield* qmp('query-memory-size-summary'), 'base-memory') ?? 0),
    backends: yield* readBackends(),
    iommus: yield* readIommus(),
    migration: textIn(migration, 'status') ?? 'none',
    blockers: listIn(migration, 'blocked-reasons').map(String),
    capabilities: yield* readCapabilities(),
  };
}

/** The VM's state. */
export function* runState(): VmSequence<string> {
  return textIn(yield* qmp('query-status'), 'status') ?? 'unknown';
}

/** The capabilities of its migration that are on. */
export function* readCapabilities(): VmSequence<readonly string[]> {
  const all = listOf(yield* qmp('query-migrate-capabilities'));
  return all.filter((each) => member(each, 'state') === true).map((each) => textIn(each, 'capability') ?? '');
}

function* readBackends(): VmSequence<readonly MemoryBackend[]> {
  const backends: MemoryBackend[] = [];
  for (const each of listOf(yield* qmp('query-memdev'))) {
    const id = textIn(each, 'id');
    if (id === null) continue;
    const type = yield* qmp('qom-get', { path: `/objects/${id}`, property: 'type' });
    const [share, size] = [member(each, 'share') === true, Number(member(each, 'size') ?? 0)];
    backends.push({ id, type: String(type), share, size });
  }
  return backends;
}

/** Devices with a name, without one, and those that the machine brings. */
const CONTAINERS = ['/machine/peripheral', '/machine/peripheral-anon', '/machine/unattached'];

function* readIommus(): VmSequence<readonly string[]> {
  const found: string[] = [];
  for (const path of CONTAINERS) {
    for (const child of listOf(yield* qmp('qom-list', { path }))) {
      const type = childType(child);
      if (type !== null && /iommu|smmu/.test(type) && !/memory-region/.test(type)) found.push(type);
    }
  }
  return found;
}

/** The type of a child of an object; null for a property that is none. */
export function childType(property: unknown): string | null {
  return /^child<(.*)>$/.exec(textIn(property, 'type') ?? '')?.[1] ?? null;
}
