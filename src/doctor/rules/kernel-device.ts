import { Errno } from '../../errors/index.ts';
import { mayUse, permissionsText } from '../file-facts.ts';
import type { Rule } from '../finding.ts';
import { isVfioDriver, type KernelDeviceFacts, moduleName, offersKnown, stateOf } from '../kernel-facts.ts';
import { processText } from '../process-facts.ts';
import { offersMigration } from '../variant-drivers.ts';
import { joined } from './device-rule.ts';

const isPci = ({ kind }: KernelDeviceFacts): boolean => kind === 'pci';

/** Gives a PCI device to another driver. */
function bindTo(address: string, module: string): string[] {
  // Drivers are called as their modules are, but for this one.
  const driver = module === 'vfio_pci' ? 'vfio-pci' : module;
  const device = `/sys/bus/pci/devices/${address}`;
  return [
    `modprobe ${driver}`,
    `echo ${driver} > ${device}/driver_override`,
    `echo ${address} > ${device}/driver/unbind   (when a driver has it)`,
    `echo ${address} > /sys/bus/pci/drivers_probe`,
  ];
}

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

/** Why QEMU says "VFIO migration is not supported in kernel" of a device: DEVICE_FEATURE MIGRATION gave ENOTTY. */
export const kernelMigrationRules: readonly Rule<KernelDeviceFacts>[] = [
  {
    id: 'generic-driver',
    certainty: 'certain',
    effect: 'prevents',
    finding: (facts) => {
      if (facts.driver === null || moduleName(facts.driver) !== 'vfio_pci') return null;
      const special = facts.matching.find((module) => module !== 'vfio_pci');
      return special === undefined ? null : `${facts.name} is bound to vfio-pci; ${special} is made for it`;
    },
    why: 'vfio-pci knows nothing of the state of a device. QEMU says: "VFIO migration is not supported in kernel".',
    next: (facts) => bindTo(facts.name, facts.matching.find((module) => module !== 'vfio_pci') ?? 'vfio_pci'),
  },
  {
    id: 'driver-not-built',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ variant, matching, machine, driver }) => {
      if (variant === null || matching.includes(variant.module) || driverIs(driver, variant.module))
        return null;
      const { settings, loadable, release } = machine;
      if (settings === null && loadable === null) return null;
      if (settings?.has(variant.config) === true || loadable?.includes(variant.module) === true) return null;
      return `the kernel ${release ?? ''} has no ${variant.module}, the driver that would offer migration`;
    },
    why: 'QEMU says: "VFIO migration is not supported in kernel". Distributions leave such drivers out (Debian does).',
    next: ({ variant, machine }) => [
      `use a kernel with ${variant?.config}=m`,
      `look for a package with it: modinfo ${variant?.module} (kernel ${machine.release ?? 'unknown'})`,
    ],
  },
  {
    id: 'no-driver-exists',
    certainty: 'likely',
    effect: 'prevents',
    finding: (facts) => {
      const { variant, matching, driver, exists, id } = facts;
      if (!exists || id === null || variant !== null || matching.some((module) => module !== 'vfio_pci'))
        return null;
      if (offersKnown(facts) || (driver !== null && offersMigration(driver))) return null;
      return `no driver of Linux 7.2 offers migration for ${hex(id.vendor)}:${hex(id.device)}`;
    },
    why: 'QEMU says: "VFIO migration is not supported in kernel".',
    next: ({ virtualFunctions }) => [
      virtualFunctions > 0
        ? 'use a virtual function: some have a driver that offers it'
        : 'ask its maker for a variant driver',
      'unplug it from the guest before the VM migrates, and plug one in after',
    ],
  },
  {
    id: 'physical-function',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ exists, virtualFunctions, physicalFunction, name, driver }) =>
      exists &&
      virtualFunctions > 0 &&
      physicalFunction === null &&
      (driver === null || !offersMigration(driver))
        ? `${name} is a physical function`
        : null,
    why: 'The drivers that offer migration are for virtual functions: the state of one is read through the physical one.',
    next: ({ name }) => [
      `make one: echo 1 > /sys/bus/pci/devices/${name}/sriov_numvfs`,
      'and name that instead',
    ],
  },
  {
    id: 'migration-not-offered',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ opening, driver, name }) =>
      opening.kind === 'opened' && opening.flags === null
        ? `${driver} offers no migration for ${name}`
        : null,
    why: 'It was asked (VFIO_DEVICE_FEATURE_MIGRATION). QEMU says: "VFIO migration is not supported in kernel".',
    next: ({ variant, driver, matching }) => {
      const other = matching.find((module) => module !== moduleName(driver ?? '') && module !== 'vfio_pci');
      if (other !== undefined) return [`bind it to ${other}, which is made for it`];
      return variant === null
        ? ['see what the driver says: dmesg']
        : [...variant.needs, 'see what the driver says: dmesg'];
    },
  },
  {
    id: 'device-logs-nothing',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ opening, driver }) =>
      opening.kind === 'opened' && opening.flags !== null && !opening.logsDma
        ? `${driver} does not log what the device writes by DMA`
        : null,
    why: 'All guest memory counts as written, and is sent again while the VM stands still.',
    next: () => ['use an IOMMU that tracks dirty pages, with iommufd', 'or allow for the downtime'],
  },
  {
    id: 'driver-offers-none',
    certainty: 'likely',
    effect: 'prevents',
    finding: (facts) => {
      const { driver, debugfs, machine, users, name } = facts;
      if (driver === null || !offersMigration(driver) || offersKnown(facts) || !debugfs) return null;
      if (machine.settings?.has('CONFIG_VFIO_DEBUGFS') !== true || users.length > 0) return null;
      return `${driver} has ${name}, but offers no migration for it`;
    },
    why: 'The device or its firmware lacks what the driver needs. QEMU says: "VFIO migration is not supported in kernel".',
    next: ({ variant }) =>
      variant === null
        ? ['see what the driver says: dmesg']
        : [...variant.needs, 'see what the driver says: dmesg'],
  },
  {
    id: 'driver-needs',
    certainty: 'suspected',
    effect: 'endangers',
    finding: ({ driver, variant, ...facts }) =>
      variant !== null && driverIs(driver, variant.module) && !offersKnown({ driver, variant, ...facts })
        ? `${driver} offers migration only with the right device and firmware, which could not be seen`
        : null,
    why: 'Without it QEMU says: "VFIO migration is not supported in kernel".',
    next: ({ variant }) => variant?.needs ?? [],
  },
  {
    id: 'kernel-no-p2p',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ driver, variant }) =>
      driver !== null && variant !== null && driverIs(driver, variant.module) && (variant.flags & 2) === 0
        ? `${driver} has no P2P`
        : null,
    why: 'QEMU refuses to migrate a VM with more than one VFIO device unless all have P2P.',
    next: () => ['give a VM only one of these'],
  },
  {
    id: 'kernel-state',
    certainty: 'certain',
    effect: 'prevents',
    finding: (facts) => {
      const state = stateOf(facts);
      const runs = state === null || ['RUNNING', 'RUNNING_P2P', 'PRE_COPY', 'PRE_COPY_P2P'].includes(state);
      return runs ? null : `the device is in ${state}`;
    },
    why: 'The state survives its user: the next one finds a device that does not run.',
    next: () => ['reset it: VFIO_DEVICE_RESET, which ferry does before it takes a device'],
  },
  {
    id: 'no-dirty-tracking',
    certainty: 'likely',
    effect: 'endangers',
    finding: ({ machine: { settings } }) =>
      settings !== null && !settings.has('CONFIG_IOMMUFD_DRIVER')
        ? 'the kernel is built without CONFIG_IOMMUFD_DRIVER'
        : null,
    why: 'DMA_LOGGING_START is accepted, but REPORT fails with EOPNOTSUPP: QEMU then fails the migration (ram_save_setup).',
    next: () => [
      'use a kernel with CONFIG_IOMMUFD=m, which selects it',
      'or count all memory as dirty: vfio-pci,x-device-dirty-page-tracking=off,enable-migration=on',
    ],
  },
];

function nextAfterRefusal(errno: number): readonly string[] {
  if (errno === Errno.EBUSY)
    return ['find who has it: fuser -v /dev/vfio/*', 'end that program, or migrate by it'];
  if (errno === Errno.EPERM || errno === Errno.EACCES) return ['use the account that /dev/vfio belongs to'];
  return ['see what the kernel says: dmesg'];
}

function driverIs(driver: string | null, module: string): boolean {
  return driver !== null && moduleName(driver) === module;
}

function hex(value: number): string {
  return value.toString(16).padStart(4, '0');
}
