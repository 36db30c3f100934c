import { resolve } from 'node:path';
import { clientEnd, type MigrationEnd, type MigrationHooks } from '../engine/index.ts';
import { VmTarget } from './destination/vm-target.ts';
import type { Examined } from './examine.ts';
import { identityOf } from './identity.ts';
import { leaveVm, type ReachedVm, reachVm, type VmSideOptions } from './reach.ts';
import { VmSource } from './source/vm-source.ts';

/** A VM with its devices, reached and examined. */
export interface OpenVm<End extends MigrationEnd = MigrationEnd> {
  /** The VM itself. */
  readonly vm: End;
  /** The VM and its devices, in the order in which they are moved as one. */
  readonly ends: readonly MigrationEnd[];
  readonly hooks: MigrationHooks;
  readonly examined: Examined;
  /** What is worth knowing, in sentences. */
  readonly notes: readonly string[];
  /** Gives back what was opened; the VM and its devices stay as they are. */
  close(): Promise<void>;
}

/** How a VM is called in journals, messages and commands. */
export function vmName(monitorPath: string): string {
  return `qmp:${resolve(monitorPath)}`;
}

/** Reaches a VM that is to be moved away. Rejects with VmError: ERR_VM_REFUSED tells all that speaks against it. */
export async function openSource(options: VmSideOptions): Promise<OpenVm<VmSource>> {
  const opened = await reachVm('source', options);
  const { examined, performer, clients, folder, timeoutMs } = opened;
  const vm = new VmSource({
    ...{ name: vmName(options.monitorPath), performer, clients, folder: folder.path, timeoutMs },
    ids: examined.devices.map(({ id }) => id),
    identity: identityOf(examined),
    ecam: examined.ecam,
  });
  return assembled(vm, vm.hooks, opened);
}

/** Reaches a VM that is to take the place of another. Rejects as {@link openSource} does. */
export async function openTarget(options: VmSideOptions): Promise<OpenVm<VmTarget>> {
  const opened = await reachVm('destination', options);
  const { examined, performer, folder, timeoutMs } = opened;
  const vm = new VmTarget({
    ...{ name: vmName(options.monitorPath), performer, folder: folder.path, timeoutMs },
    identity: identityOf(examined),
  });
  return assembled(vm, vm.hooks, opened);
}

function assembled<End extends VmSource | VmTarget>(
  vm: End,
  hooks: MigrationHooks,
  opened: ReachedVm,
): OpenVm<End> {
  const { clients, examined, notes } = opened;
  return {
    ...{ vm, hooks, examined, notes },
    ends: [vm, ...clients.map((client) => clientEnd(client))],
    close: async () => {
      vm.close();
      await leaveVm(opened);
    },
  };
}
