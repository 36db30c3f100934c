import { messageEnableOf, usesIntx } from '../registers.ts';
import { configuration, qmp, reconnections, type VmSequence } from '../step.ts';
import { VmError } from '../vm-error.ts';
import type { Policy } from './plan.ts';

/** How a VM stands that is to pass to another QEMU. */
export interface UpgradeView {
  /**
   * Configuration spaces as they were when QEMU was cut off from the device: by another QEMU that took the device, and
   * did not get as far as running the VM. Null for a device that QEMU has.
   */
  readonly kept: readonly (Uint8Array | null)[];
  /** What becomes of the states of devices when their VMM comes back, as it was. */
  readonly policies: readonly Policy[];
  /** Why it can't pass, each with what to do; empty when it can. */
  readonly reasons: readonly string[];
}

/** Looks at what an upgrade needs besides what a migration does (docs/devel/migration/CPR.rst of QEMU). Changes nothing. */
export function* judgeUpgrade(ids: readonly string[], status: string): VmSequence<UpgradeView> {
  const statuses = yield* reconnections(ids.map((_, device) => ({ device, choice: null })));
  const kept = statuses.map((each) => each.kept?.configuration ?? null);
  const reasons = [...(yield* judgeMemory()), ...judgeState(ids, kept, status)];
  for (const [device, id] of ids.entries()) {
    const config = kept[device] ?? (yield* configuration(device));
    if (usesIntx(config) && messageEnableOf(config) === null) reasons.push(silent(id));
  }
  return { kept, policies: statuses.map(({ policy }) => policy), reasons };
}

function* judgeMemory(): VmSequence<readonly string[]> {
  const why = 'its own memory can not be handed over: start QEMU with -machine aux-ram-share=on';
  try {
    const shared = yield* qmp('qom-get', { path: '/machine', property: 'aux-ram-share' });
    return shared === true ? [] : [why];
  } catch (error) {
    if (!(error instanceof VmError) || error.code !== 'ERR_VM_COMMAND') throw error;
    return ['its QEMU knows no cpr-transfer: 10.0 is the first'];
  }
}

function judgeState(
  ids: readonly string[],
  kept: readonly (Uint8Array | null)[],
  status: string,
): readonly string[] {
  const lost = ids.filter((_, i) => kept[i] !== null);
  if (status !== 'running' && lost.length === 0) return [`the VM is in the state ${status}: it has to run`];
  if (status === 'running' && lost.length > 0)
    return [`the VM runs, and the server of ${lost.join(', ')} waits for another one: look who uses it`];
  return [];
}

/** QEMU does not connect INTx when it gets its memory so (hw/vfio/pci.c, vfio_intx_enable), only after MSI or MSI-X. */
function silent(id: string): string {
  return `${id} interrupts by INTx, which QEMU leaves dead in a device without MSI or MSI-X: take it out before`;
}
