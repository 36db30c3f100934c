import { setupWrites } from '../../engine/index.ts';
import { FerryError } from '../../errors/index.ts';
import { type PciAddress, readPciAddresses } from '../machine/attached.ts';
import { type Ecam, ecamAddress } from '../machine/ecam.ts';
import { CONFIG_BYTES } from '../performer.ts';
import type { DeviceRecord, VmRecord } from '../record.ts';
import { msixTableOf } from '../registers.ts';
import { configuration, qmp, save, type VmSequence } from '../step.ts';
import { all, both } from '../together.ts';
import { VmError } from '../vm-error.ts';

/**
 * Who is to be asked for the configuration spaces: the servers, which see all that the guest writes, where QEMU agrees on what
 * is set up in them. Reading it through QEMU takes a round trip to the server for each word, so it is not done while the VM stands still
 * if it need not be. The guest may run: then one that it is writing to at this moment is asked of
 * QEMU.
 */
export function* compareViews(ecam: Ecam, ids: readonly string[]): VmSequence<readonly ConfigurationView[]> {
  const places = yield* placesOf(ids);
  const alike = yield* all(places.map((place, device) => isAlike(ecamAddress(ecam.base, place), device)));
  return alike.map((each) => (each ? 'server' : 'vmm'));
}

function* isAlike(address: bigint, device: number): VmSequence<boolean> {
  const own = yield* save(address, CONFIG_BYTES);
  const view = yield* configuration(device);
  try {
    const there = setupWrites(own, view, 0);
    return setupWrites(own, own, 0).every(
      ({ bytes }, i) => Buffer.compare(bytes, there[i]?.bytes ?? NONE) === 0,
    );
  } catch (error) {
    if (error instanceof FerryError) return false;
    throw error;
  }
}

const NONE = new Uint8Array(0);

/** Who is asked for a configuration space; or what it was when QEMU was cut off from the device. */
export type ConfigurationView = 'vmm' | 'server' | Uint8Array;

/** What QEMU keeps of the devices, read while the VM stands still. `views`: how their configuration spaces are had. */
export function* readClientState(
  ecam: Ecam,
  ids: readonly string[],
  views: readonly ConfigurationView[],
): VmSequence<VmRecord> {
  const asked = ids.map((_, device) => configurationBy(views[device] ?? 'vmm', device));
  const [places, configs] = yield* both(placesOf(ids), all(asked));
  const devices = yield* all(
    places.map((place, i) => {
      const connected = views[i] === 'server';
      return readDevice(ids[i] ?? '', ecamAddress(ecam.base, place), configs[i] ?? null, connected);
    }),
  );
  return {
    ecam: ecam.base,
    hostBridge: ecam.hostBridge,
    devices: devices.map((device, i) => ({ ...(places[i] ?? NOWHERE), ...device })),
  };
}

function* configurationBy(view: ConfigurationView, device: number): VmSequence<Uint8Array | null> {
  if (view === 'vmm') return null;
  return view === 'server' ? yield* configuration(device) : view;
}

const NOWHERE: PciAddress = { bus: 0, slot: 0, function: 0 };

function* placesOf(ids: readonly string[]): VmSequence<readonly PciAddress[]> {
  const addresses = yield* readPciAddresses();
  return ids.map((id) => {
    const place = addresses.get(id);
    if (place === undefined) throw new VmError('ERR_VM_REFUSED', `${id} is on no bus of the VM`);
    return place;
  });
}

type DeviceState = Pick<DeviceRecord, 'config' | 'msixTable'>;

function* readDevice(
  id: string,
  address: bigint,
  view: Uint8Array | null,
  connected: boolean,
): VmSequence<DeviceState> {
  if (view === null) {
    const config = yield* save(address, CONFIG_BYTES);
    return { config, msixTable: yield* readTable(id, config) };
  }
  if (!connected) return { config: view, msixTable: yield* readTable(id, view) };
  const [msixTable] = yield* both(readTable(id, view), passWrites(address));
  return { config: view, msixTable };
}

/** The guest's writes to a BAR are posted. A read of configuration space through QEMU is answered after them. */
function* passWrites(address: bigint): VmSequence<void> {
  yield* qmp('pmemsave', { val: Number(address), size: 4, filename: '/dev/null' });
}

/** A device whose BARs are off has a table that nobody has enabled; otherwise it could not be carried over. */
function* readTable(id: string, config: Uint8Array): VmSequence<Uint8Array | null> {
  const table = msixTableOf(config);
  if (table === null) return null;
  if (table.address !== null) return yield* save(table.address, table.length);
  if (!table.enabled) return null;
  throw new VmError('ERR_VM_REFUSED', `the MSI-X table of ${id} can't be read: its memory BARs are off`);
}
