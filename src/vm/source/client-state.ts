import { readPciAddresses } from '../machine/attached.ts';
import { type Ecam, ecamAddress } from '../machine/ecam.ts';
import { CONFIG_BYTES } from '../performer.ts';
import type { DeviceRecord, VmRecord } from '../record.ts';
import { msixTableOf } from '../registers.ts';
import { save, type VmSequence } from '../step.ts';
import { VmError } from '../vm-error.ts';

/**
 * What QEMU keeps of the devices, read while the VM stands still and their servers still answer. Each read of configuration
 * space also waits for the posted writes of the guest that went before it.
 */
export function* readClientState(ecam: Ecam, ids: readonly string[]): VmSequence<VmRecord> {
  const addresses = yield* readPciAddresses();
  const devices: DeviceRecord[] = [];
  for (const id of ids) {
    const address = addresses.get(id);
    if (address === undefined) throw new VmError('ERR_VM_REFUSED', `${id} is on no bus of the VM`);
    const config = yield* save(ecamAddress(ecam.base, address), CONFIG_BYTES);
    devices.push({ ...address, config, msixTable: yield* readTable(id, config) });
  }
  return { ecam: ecam.base, hostBridge: ecam.hostBridge, devices };
}

/** A device whose BARs are off has a table that nobody has enabled; otherwise it could not be carried over. */
function* readTable(id: string, config: Uint8Array): VmSequence<Uint8Array | null> {
  const table = msixTableOf(config);
  if (table === null) return null;
  if (table.address !== null) return yield* save(table.address, table.length);
  if (!table.enabled) return null;
  throw new VmError('ERR_VM_REFUSED', `the MSI-X table of ${id} can't be read: its memory BARs are off`);
}
