import { probeKernelDevice } from '../../kernel/index.ts';
import { mayUse } from '../file-facts.ts';
import {
  type GroupFacts,
  type GroupMember,
  isVfioDriver,
  type KernelDeviceFacts,
  type Opening,
} from '../kernel-facts.ts';
import type { ProcessFacts } from '../process-facts.ts';
import { variantDriverFor } from '../variant-drivers.ts';
import type { Host } from './host.ts';
import { gatherMachine, pciId } from './machine.ts';
import { matchingModules, vfioAliases } from './modules.ts';
import { processFacts } from './processes.ts';

/** The base class of bridges (PCI Code and ID Assignment Specification). */
const BRIDGE = 0x06;

/** Opens a device and asks it. */
export type KernelProber = typeof probeKernelDevice;

/**
 * Everything about a device that the kernel has: by files first, then, where that disturbs nobody, by opening it. `probe`
 * null: it is not opened.
 */
export async function gatherKernelDevice(
  host: Host,
  kind: 'pci' | 'mdev',
  name: string,
  probe: KernelProber | null = probeKernelDevice,
): Promise<KernelDeviceFacts> {
  const facts = lookAtDevice(host, kind, name);
  const why = probe === null ? 'it was asked not to open it (--no-connect)' : reasonNotToOpen(facts);
  return {
    ...facts,
    opening: why === null && probe !== null ? await open(name, probe) : { kind: 'none', why: why ?? '' },
  };
}

type Closed = Omit<KernelDeviceFacts, 'opening'>;

/** Why the device is not opened; null when it may be. */
function reasonNotToOpen({ exists, driver, group, deviceNode, machine, users }: Closed): string | null {
  if (!exists) return 'there is no such device';
  if (driver === null || !isVfioDriver(driver)) return 'no VFIO driver has it';
  if (users.length > 0) return 'another process has it open, and must not be disturbed';
  const doors = [group?.node, deviceNode].filter((node) => node !== undefined && node !== null);
  if (doors.every(({ kind }) => kind === 'missing')) return 'its file in /dev/vfio is not there';
  return doors.some((node) => mayUse(node, machine.caller)) ? null : 'this account may not use its file';
}

async function open(name: string, probe: KernelProber): Promise<Opening> {
  const { refused, report, flags, state } = await probe(name);
  if (refused !== null) return { kind: 'refused', errno: refused.errno, message: refused.message };
  return { kind: 'opened', flags, state, logsDma: report?.dmaLogging === true, limits: report?.limits ?? [] };
}

function lookAtDevice(host: Host, kind: 'pci' | 'mdev', name: string): Closed {
  const folder = kind === 'pci' ? `sys/bus/pci/devices/${name}` : `sys/bus/mdev/devices/${name}`;
  const machine = gatherMachine(host);
  const id = kind === 'pci' ? pciId(host, name) : null;
  const group = groupFacts(host, kind, host.linkName(folder, 'iommu_group'));
  const [cdev = null] = host.list(folder, 'vfio-dev') ?? [];
  const deviceNode = cdev === null ? null : host.file('dev/vfio/devices', cdev);
  const debug = 'sys/kernel/debug/vfio';
  return {
    kind,
    name,
    exists: host.has(folder),
    machine,
    id,
    driver: host.linkName(folder, 'driver'),
    physicalFunction: host.linkName(folder, 'physfn'),
    virtualFunctions: Number(host.text(folder, 'sriov_totalvfs') ?? 0),
    variant: id === null ? null : variantDriverFor(id.vendor, id.device, id.classCode),
    matching: matchingModules(vfioAliases(host, machine.release), host.text(folder, 'modalias') ?? ''),
    parent: kind === 'mdev' ? parentOf(host.link(folder)) : null,
    group,
    deviceNode,
    migrationState:
      [name, cdev ?? name].map((each) => host.text(debug, each, 'migration/state')).find(isText) ?? null,
    debugfs: host.list(debug) !== null,
    users: usersOf(host, [group?.node.path, deviceNode?.path].filter(isText)),
  };
}

function isText(value: string | null | undefined): value is string {
  return typeof value === 'string';
}

/** The folder of an mdev lies in that of its parent. */
function parentOf(link: string | null): string | null {
  return link?.split('/').at(-2) ?? null;
}

function groupFacts(host: Host, kind: 'pci' | 'mdev', number: string | null): GroupFacts | null {
  if (number === null || !/^\d+$/.test(number)) return null;
  const folder = `sys/kernel/iommu_groups/${number}`;
  // The kernel calls the groups of mediated devices the same, but gives their files no such name (vfio/group.c).
  const noIommu = kind === 'pci' && host.text(folder, 'name') === 'vfio-noiommu';
  const members = (host.list(folder, 'devices') ?? []).map((name) => member(host, name));
  const node = host.file('dev/vfio', noIommu ? `noiommu-${number}` : number);
  return { number: Number(number), members, noIommu, node };
}

function member(host: Host, name: string): GroupMember {
  const [bus = 'pci'] = ['pci', 'mdev'].filter((each) => host.has('sys/bus', each, 'devices', name));
  const classCode = Number(host.text('sys/bus', bus, 'devices', name, 'class') ?? 0);
  const driver = host.linkName('sys/bus', bus, 'devices', name, 'driver');
  return { name, driver, bridge: classCode >> 16 === BRIDGE };
}

/** The processes that have one of the device's files open. */
function usersOf(host: Host, nodes: readonly string[]): ProcessFacts[] {
  const names = nodes.map((node) => node.slice(host.root.length).replace(/^\/*/, '/'));
  return (host.list('proc') ?? []).flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    const fds = host.list('proc', pid, 'fd') ?? [];
    const uses = fds.some((fd) => names.includes(host.link('proc', pid, 'fd', fd) ?? ''));
    const facts = uses ? processFacts(host, Number(pid)) : null;
    return facts === null ? [] : [facts];
  });
}
