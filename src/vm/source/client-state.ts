import { setupWrites } from '../../engine/index.ts';
import { FerryError } from '../../errors/index.ts';
import { type PciAddress, readPciAddresses } from '../machine/attached.ts';
import { type Ecam, ecamAddress } from '../machine/ecam.ts';
import { CONFIG_BYTES } from '../performer.ts';
import type { DeviceRecord, VmRecord } from '../record.ts';
import { msixTableOf } from '../registers.ts';
import { configuration, qmp, save, type VmSequence } from '../step.ts';
import { all } from '../together.ts';
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

/** Who is asked for a configuration space; or what it is, for QEMU has been asked, or was when it was cut off from the device. */
export type ConfigurationView = 'vmm' | 'server' | Uint8Array;

/** How it is had when the device has stopped: not through QEMU any more. */
export type StoppedView = Exclude<ConfigurationView, 'vmm'>;

/** What QEMU keeps of the devices, read while the VM stands still. `views`: how their configuration spaces are had. */
export function* readClientState(
  ecam: Ecam,
  ids: readonly string[],
  views: readonly ConfigurationView[],
): VmSequence<VmRecord> {
  const places = yield* placesOf(ids);
  return yield* readRegisters({ ecam, ids, places, views: yield* passThrough(ecam, places, views) });
}

/** Where devices are, in the order of their names. */
export function* placesOf(ids: readonly string[]): VmSequence<readonly PciAddress[]> {
  const addresses = yield* readPciAddresses();
  return ids.map((id) => {
    const place = addresses.get(id);
    if (place === undefined) throw new VmError('ERR_VM_REFUSED', `${id} is on no bus of the VM`);
    return place;
  });
}

/** The VM stands still, its devices do not yet: what has to go through QEMU to their servers. */
export function passThrough(
  ecam: Ecam,
  places: readonly PciAddress[],
  views: readonly ConfigurationView[],
): VmSequence<readonly StoppedView[]> {
  return all(places.map((place, i) => passOne(ecamAddress(ecam.base, place), views[i] ?? 'vmm')));
}

function* passOne(address: bigint, view: ConfigurationView): VmSequence<StoppedView> {
  if (view === 'vmm') return yield* save(address, CONFIG_BYTES);
  if (view === 'server') yield* passWrites(address);
  return view;
}

/** Devices whose writes have been passed to their servers. */
export interface PassedDevices {
  readonly ecam: Ecam;
  readonly ids: readonly string[];
  readonly places: readonly PciAddress[];
  readonly views: readonly StoppedView[];
}

/** What QEMU keeps of devices, whether they have stopped or not; the VM stands still. */
export function* readRegisters({ ecam, ids, places, views }: PassedDevices): VmSequence<VmRecord> {
  const devices = yield* all(views.map((view, device) => readDevice(ids[device] ?? '', device, view)));
  return {
    ecam: ecam.base,
    hostBridge: ecam.hostBridge,
    devices: devices.map((device, i) => ({ ...(places[i] ?? NOWHERE), ...device })),
  };
}

const NOWHERE: PciAddress = { bus: 0, slot: 0, function: 0 };

type DeviceState = Pick<DeviceRecord, 'config' | 'msixTable'>;

function* readDevice(id: string, device: number, view: StoppedView): VmSequence<DeviceState> {
  const config = view === 'server' ? yield* configuration(device) : view;
  return { config, msixTable: yield* readTable(id, config) };
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
