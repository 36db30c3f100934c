import { readPciAddresses } from '../machine/attached.ts';
import { type Ecam, ecamAddress } from '../machine/ecam.ts';
import { CONFIG_BYTES } from '../performer.ts';
import type { DeviceRecord, VmRecord } from '../record.ts';
import { msixTableOf } from '../registers.ts';
import { type PhysicalRange, saveAll, type VmSequence } from '../step.ts';
import { VmError } from '../vm-error.ts';

/**
 * What QEMU keeps of the devices, read while the VM stands still and their servers still answer. Each read of configuration
 * space also waits for the posted writes of the guest that went before it.
 */
export function* readClientState(ecam: Ecam, ids: readonly string[]): VmSequence<VmRecord> {
  const addresses = yield* readPciAddresses();
  const places = ids.map((id) => {
    const place = addresses.get(id);
    if (place === undefined) throw new VmError('ERR_VM_REFUSED', `${id} is on no bus of the VM`);
    return place;
  });
  const configs = yield* saveAll(
    places.map((place) => ({ address: ecamAddress(ecam.base, place), length: CONFIG_BYTES })),
  );
  const ranges = configs.map((config, i) => tableRange(ids[i] ?? '', config));
  const tables = yield* saveAll(ranges.filter((range) => range !== null));
  let next = 0;
  const devices = places.map((place, i): DeviceRecord => {
    const msixTable = ranges[i] === null ? null : (tables[next++] ?? null);
    return { ...place, config: configs[i] ?? new Uint8Array(0), msixTable };
  });
  return { ecam: ecam.base, hostBridge: ecam.hostBridge, devices };
}

/** A device whose BARs are off has a table that nobody has enabled; otherwise it could not be carried over. */
function tableRange(id: string, config: Uint8Array): PhysicalRange | null {
  const table = msixTableOf(config);
  if (table === null) return null;
  if (table.address !== null) return { address: table.address, length: table.length };
  if (!table.enabled) return null;
  throw new VmError('ERR_VM_REFUSED', `the MSI-X table of ${id} can't be read: its memory BARs are off`);
}
