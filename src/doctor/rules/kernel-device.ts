import { Errno } from '../../errors/index.ts';
import { mayUse, permissionsText } from '../file-facts.ts';
import type { Rule } from '../finding.ts';
import { isVfioDriver, type KernelDeviceFacts } from '../kernel-facts.ts';
import { processText } from '../process-facts.ts';
import { bindTo } from './bind-driver.ts';
import { joined } from './device-rule.ts';

const isPci = ({ kind }: KernelDeviceFacts): boolean => kind === 'pci';

const driverOf = ({ matching, variant }: KernelDeviceFacts): string =>
  matching[0] ?? variant?.module ?? 'vfio_pci';

/** What keeps a device of the kernel from being used through VFIO at all. */
export const kernelDeviceRules: readonly Rule<KernelDeviceFacts>[] = [
  {
    id: 'no-such-device',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ exists, kind, name }) =>
      exists ? null : `there is no ${kind === 'pci' ? 'PCI device' : 'mdev'} ${name}`,
    why: 'sysfs does not have it.',
    next: ({ kind, machine }) =>
      kind === 'pci'
        ? ['see what there is: lspci -D', 'rescan the bus: echo 1 > /sys/bus/pci/rescan']
        : [
            'see what there is: ls /sys/bus/mdev/devices',
            machine.mdevParents.length === 0
              ? 'load the driver that makes mediated devices: /sys/class/mdev_bus has none'
              : `make one: echo <uuid> > /sys/class/mdev_bus/${machine.mdevParents[0]}/mdev_supported_types/<type>/create`,
          ],
  },
  {
    id: 'no-iommu-group',
    certainty: 'certain',
    effect: 'prevents',
    finding: (facts) =>
      facts.exists && isPci(facts) && facts.group === null ? `${facts.name} is in no IOMMU group` : null,
    why: 'Without an IOMMU a device could reach all memory of the host, and VFIO does not give it away.',
    next: ({ machine: { tables, commandLine } }) => {
      if (tables.length === 0)
        return [
          'switch the IOMMU on in the firmware: VT-d or AMD-Vi (no ACPI table DMAR or IVRS is there)',
          'in a VM: give it an emulated IOMMU',
        ];
      return /\b(?:intel|amd)_iommu=off\b|\biommu=off\b/.test(commandLine)
        ? ['remove iommu=off, intel_iommu=off, amd_iommu=off from the kernel command line']
        : ['add intel_iommu=on to the kernel command line, and boot again'];
    },
  },
  {
    id: 'no-iommu-mode',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ group }) =>
      group?.noIommu === true ? `IOMMU group ${group.number} is in noiommu mode` : null,
    why: 'Nothing limits what the device reaches, and no DMA map can be made: only programs without DMA work.',
    next: () => ['switch the IOMMU on'],
  },
  {
    id: 'not-bound-to-vfio',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ exists, driver, name }) => {
      if (!exists || (driver !== null && isVfioDriver(driver))) return null;
      return driver === null
        ? `${name} has no driver`
        : `${name} is bound to ${driver}, which keeps it for the host`;
    },
    why: 'Only a VFIO driver opens a device to programs.',
    next: (facts) =>
      isPci(facts) ? bindTo(facts.name, driverOf(facts)) : ['remove the mdev and make it anew'],
  },
  {
    id: 'group-not-viable',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ group, name }) => {
      const others = (group?.members ?? []).filter((each) => each.name !== name && !each.bridge);
      const kept = others.filter(
        ({ driver }) => driver !== null && !isVfioDriver(driver) && driver !== 'pci-stub',
      );
      return joined(kept.map((each) => `${each.name}, of the same IOMMU group, is bound to ${each.driver}`));
    },
    why: 'Devices of one group can reach each other past the IOMMU, so VFIO opens a group only as a whole.',
    next: ({ group }) => [
      'give the others to vfio-pci or pci-stub, or unbind them',
      `see them: ls /sys/kernel/iommu_groups/${group?.number}/devices`,
      'use another slot, or a root port with ACS',
    ],
  },
  {
    id: 'in-use',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ users }) =>
      users.length === 0 ? null : `it is open in ${users.map(processText).join(', ')}`,
    why: 'A group has one user at a time: any other gets EBUSY. Who has it also drives its migration.',
    next: () => ['migrate the VM by that VMM, or end it first'],
  },
  {
    id: 'group-node',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ group, driver, deviceNode, machine }) => {
      if (
        group === null ||
        driver === null ||
        !isVfioDriver(driver) ||
        deviceNode?.kind === 'character device'
      )
        return null;
      if (group.node.kind === 'missing') return `${group.node.path} does not exist`;
      return mayUse(group.node, machine.caller)
        ? null
        : `${group.node.path} may not be used (${permissionsText(group.node)})`;
    },
    why: 'A program opens the device through this file.',
    next: ({ group }) => [
      `give it to the account of the VMM: chown <user> ${group?.node.path}`,
      'in a container: pass the files of /dev/vfio into it',
    ],
  },
  {
    id: 'open-refused',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ opening }) => (opening.kind === 'refused' ? opening.message : null),
    why: 'A VMM that opens the device is told the same.',
    next: ({ opening }) => nextAfterRefusal(opening.kind === 'refused' ? opening.errno : 0),
  },
  {
    id: 'mlock-limit',
    certainty: 'suspected',
    effect: 'endangers',
    finding: ({ machine, driver }) =>
      machine.caller.uid !== 0 && driver !== null && isVfioDriver(driver)
        ? 'this account may lock only a little memory, by default'
        : null,
    why: 'All guest memory is pinned for DMA and counts for RLIMIT_MEMLOCK; beyond it DMA maps fail with ENOMEM.',
    next: () => ['raise the limit: ulimit -l, or LimitMEMLOCK= of the service'],
  },
];

function nextAfterRefusal(errno: number): readonly string[] {
  if (errno === Errno.EBUSY)
    return ['find who has it: fuser -v /dev/vfio/*', 'end that program, or migrate by it'];
  if (errno === Errno.EPERM || errno === Errno.EACCES) return ['use the account that /dev/vfio belongs to'];
  return ['see what the kernel says: dmesg'];
}
