import { MigrationFlag } from '../states/index.ts';
import type { NotLooked, Seen } from './diagnosis.ts';
import { permissionsText } from './file-facts.ts';
import { type KernelDeviceFacts, type MachineFacts, offersKnown, stateOf } from './kernel-facts.ts';
import { processText } from './process-facts.ts';

/** What was seen of the machine. */
export function seenOfMachine(facts: MachineFacts): Seen[] {
  const { release, iommus, groupCount, loaded, container, iommufd, candidates, mdevParents } = facts;
  return [
    { what: 'kernel', is: release ?? 'unknown' },
    { what: 'IOMMU', is: iommus.length === 0 ? 'none in use' : `${iommus.join(', ')}; ${groupCount} groups` },
    { what: 'modules', is: loaded.length === 0 ? 'none of VFIO' : loaded.join(', ') },
    { what: '/dev/vfio/vfio', is: container.kind === 'missing' ? 'not there' : permissionsText(container) },
    { what: '/dev/iommu', is: iommufd.kind === 'missing' ? 'not there' : permissionsText(iommufd) },
    ...candidates.map(({ address, driver, variant }) => ({
      what: address,
      is: `${driver ?? 'no driver'}${variant === null ? '' : `; ${variant.module} would offer migration`}`,
    })),
    ...mdevParents.map((parent) => ({ what: parent, is: 'makes mediated devices' })),
  ];
}

/** What was seen of a device of the kernel. */
export function seenOfKernelDevice(facts: KernelDeviceFacts): Seen[] {
  const { exists, id, driver, group, parent, physicalFunction, matching, users, deviceNode } = facts;
  if (!exists) return [];
  return [
    ...(id === null
      ? []
      : [{ what: 'device', is: `${hex(id.vendor)}:${hex(id.device)}, class ${hex(id.classCode, 6)}` }]),
    ...(parent === null ? [] : [{ what: 'part of', is: parent }]),
    ...(physicalFunction === null ? [] : [{ what: 'virtual function of', is: physicalFunction }]),
    { what: 'driver', is: driver ?? 'none' },
    ...(matching.length === 0 ? [] : [{ what: 'VFIO drivers for it', is: matching.join(', ') }]),
    ...(group === null
      ? []
      : [
          {
            what: 'IOMMU group',
            is: groupText(
              group.number,
              group.members.map(({ name }) => name),
            ),
          },
        ]),
    ...(group === null || group.node.kind === 'missing'
      ? []
      : [{ what: group.node.path, is: permissionsText(group.node) }]),
    // sysfs names it also where the kernel makes no such files (no CONFIG_VFIO_DEVICE_CDEV).
    ...(deviceNode === null || deviceNode.kind === 'missing'
      ? []
      : [{ what: deviceNode.path, is: permissionsText(deviceNode) }]),
    ...migrationSeen(facts),
    ...(users.length === 0 ? [] : [{ what: 'open in', is: users.map(processText).join(', ') }]),
  ];
}

/** What was not looked at on the machine, and why. */
export function notLookedOfMachine({ settings, loadable }: MachineFacts): NotLooked[] {
  const missed: NotLooked[] = [];
  if (settings === null)
    missed.push({
      what: 'how the kernel was built',
      why: 'neither /boot/config-* nor /proc/config.gz is there',
    });
  if (loadable === null)
    missed.push({ what: 'which modules can be loaded', why: '/lib/modules of this kernel is not there' });
  return missed;
}

/** What was not looked at of a device, and why. */
export function notLookedOfKernelDevice(facts: KernelDeviceFacts): NotLooked[] {
  const missed = notLookedOfMachine(facts.machine);
  if (facts.exists && facts.opening.kind === 'none')
    missed.push({ what: 'the device itself', why: facts.opening.why });
  if (facts.exists && !offersKnown(facts))
    missed.push({
      what: 'whether the driver offers migration',
      why: facts.debugfs ? 'debugfs does not show it' : 'debugfs can not be read (root; CONFIG_VFIO_DEBUGFS)',
    });
  if (facts.machine.caller.uid !== 0)
    missed.push({
      what: 'who has the device open',
      why: 'processes of other accounts can not be looked into',
    });
  return missed;
}

function migrationSeen(facts: KernelDeviceFacts): Seen[] {
  const { opening } = facts;
  const state = stateOf(facts);
  const limits = opening.kind === 'opened' ? opening.limits.map((is) => ({ what: 'limit', is })) : [];
  if (!offersKnown(facts)) return limits;
  if (opening.kind === 'opened' && opening.flags === null)
    return [{ what: 'migration', is: 'not offered' }, ...limits];
  const names = opening.kind === 'opened' ? ` (${flagNames(opening.flags ?? 0n)})` : '';
  return [{ what: 'migration', is: `offered${names}; ${state ?? 'state unknown'}` }, ...limits];
}

function flagNames(flags: bigint): string {
  const set = Object.entries(MigrationFlag).filter(([, bit]) => (flags & BigInt(bit)) !== 0n);
  return set.map(([name]) => name).join(', ');
}

function groupText(number: number, members: readonly string[]): string {
  return members.length <= 1 ? String(number) : `${number}, with ${members.join(', ')}`;
}

function hex(value: number, digits = 4): string {
  return value.toString(16).padStart(digits, '0');
}
