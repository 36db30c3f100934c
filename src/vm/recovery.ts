import type { MigrationEnd } from '../engine/index.ts';
import { VmTarget } from './destination/vm-target.ts';
import { VmPerformer } from './performer.ts';
import { QmpClient } from './qmp/qmp-client.ts';
import { VmSource } from './source/vm-source.ts';

/** A VM whose migration was interrupted. */
export interface AbandonedVm {
  readonly end: MigrationEnd;
  close(): void;
}

const PREFIX = 'qmp:';

/** Whether a device of a journal is a VM, by its name. */
export function isVmName(name: string): boolean {
  return name.startsWith(PREFIX);
}

/**
 * Reaches the VM of an interrupted migration by its name in the journal, to bring it back, or to have it go on: that takes
 * its monitor alone. Rejects with VmError.
 */
export async function openAbandoned(
  name: string,
  role: 'sender' | 'receiver',
  timeoutMs: number,
): Promise<AbandonedVm> {
  const monitor = await QmpClient.connect(name.slice(PREFIX.length), { timeoutMs });
  const performer = new VmPerformer({ monitor, gdbPath: null, clients: [], folder: '', timeoutMs });
  const common = { name, performer, folder: '', identity: null, timeoutMs };
  const end =
    role === 'sender' ? new VmSource({ ...common, ids: [], clients: [], ecam: null }) : new VmTarget(common);
  return { end, close: () => monitor.close() };
}
