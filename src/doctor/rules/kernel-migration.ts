import type { Rule } from '../finding.ts';
import { type KernelDeviceFacts, moduleName, offersKnown, stateOf } from '../kernel-facts.ts';
import { offersMigration } from '../variant-drivers.ts';
import { bindTo } from './bind-driver.ts';

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
    next: () => ['reset it: VFIO_DEVICE_RESET'],
  },
  {
    id: 'no-dirty-tracking',
    certainty: 'likely',
    effect: 'endangers',
    finding: ({ exists, machine: { settings } }) =>
      exists && settings !== null && !settings.has('CONFIG_IOMMUFD_DRIVER')
        ? 'the kernel is built without CONFIG_IOMMUFD_DRIVER'
        : null,
    why: 'DMA_LOGGING_START is accepted, but REPORT fails with EOPNOTSUPP: QEMU then fails the migration (ram_save_setup).',
    next: () => [
      'use a kernel with CONFIG_IOMMUFD=m, which selects it',
      'or count all memory as dirty: vfio-pci,x-device-dirty-page-tracking=off,enable-migration=on',
    ],
  },
];

function driverIs(driver: string | null, module: string): boolean {
  return driver !== null && moduleName(driver) === module;
}

function hex(value: number): string {
  return value.toString(16).padStart(4, '0');
}
