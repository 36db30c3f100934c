import { resolve } from 'node:path';
import { countIn, listIn, listOf, member, textIn } from '../json.ts';
import { qmp, type VmSequence } from '../step.ts';
import { childType } from './machine.ts';

/** A vfio-user device of a VM. */
export interface Attached {
  /** What QEMU calls it. */
  readonly id: string;
  /** Where its server listens; null when QEMU does not tell. */
  readonly socketPath: string | null;
  /** The way to it, such as `pcie.0/05.0/00.0`: slots on the root bus and below ports. */
  readonly place: string;
}

/** Where a device is reached in the configuration space of the machine. Numbers of buses are the guest's choice. */
export interface PciAddress {
  readonly bus: number;
  readonly slot: number;
  readonly function: number;
}

const DRIVER = 'vfio-user-pci';

/** All vfio-user devices of a VM that have a name. */
export function* readAttached(): VmSequence<readonly Attached[]> {
  const found: Attached[] = [];
  for (const child of listOf(yield* qmp('qom-list', { path: '/machine/peripheral' }))) {
    const id = textIn(child, 'name');
    if (id === null || childType(child) !== DRIVER) continue;
    const path = `/machine/peripheral/${id}`;
    found.push({ id, socketPath: yield* socketOf(path), place: yield* placeOf(path) });
  }
  return found;
}

/** How many there are that have none: they can't be found again at the destination. */
export function* countAnonymous(): VmSequence<number> {
  const all = listOf(yield* qmp('qom-list', { path: '/machine/peripheral-anon' }));
  return all.filter((child) => childType(child) === DRIVER).length;
}

/** QEMU 11.1 names the memory of BARs after the socket; the property itself can't be read. */
function* socketOf(path: string): VmSequence<string | null> {
  for (const child of listOf(yield* qmp('qom-list', { path }))) {
    const name = (textIn(child, 'name') ?? '').replaceAll('\\x2f', '/');
    const socket = /^vfio-user:(.*?)(?: base)? BAR \d+\[\d+\]$/.exec(name)?.[1];
    if (socket !== undefined) return resolve(socket);
  }
  return null;
}

/** Ports below ports: no machine has more. */
const MAX_DEPTH = 32;

/** Up from the device to the root bus; its address on each. */
function* placeOf(device: string): VmSequence<string> {
  const steps: string[] = [];
  let path = device;
  for (let depth = 0; depth < MAX_DEPTH; depth += 1) {
    const address = String(yield* qmp('qom-get', { path, property: 'addr' }));
    const bus = String(yield* qmp('qom-get', { path, property: 'parent_bus' }));
    steps.unshift(address);
    const [, parent, name] = /^(.*)\/([^/]*)$/.exec(bus) ?? [];
    if (parent === undefined || !parent.startsWith('/machine/peripheral')) {
      return [name ?? bus, ...steps].join('/');
    }
    path = parent;
  }
  return steps.join('/');
}

/** Where each device is now, by its name (query-pci). */
export function* readPciAddresses(): VmSequence<ReadonlyMap<string, PciAddress>> {
  const found = new Map<string, PciAddress>();
  for (const bus of listOf(yield* qmp('query-pci'))) collect(listIn(bus, 'devices'), found, 0);
  return found;
}

function collect(devices: readonly unknown[], found: Map<string, PciAddress>, depth: number): void {
  if (depth > MAX_DEPTH) return;
  for (const device of devices) {
    const [bus, slot, fn] = [countIn(device, 'bus'), countIn(device, 'slot'), countIn(device, 'function')];
    const id = textIn(device, 'qdev_id');
    if (id !== null && id !== '' && bus !== null && slot !== null && fn !== null)
      found.set(id, { bus, slot, function: fn });
    collect(listIn(member(device, 'pci_bridge'), 'devices'), found, depth + 1);
  }
}
