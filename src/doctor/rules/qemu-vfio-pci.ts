import type { Rule } from '../finding.ts';
import type { KernelDeviceFacts } from '../kernel-facts.ts';
import { isQemu, type ProcessFacts, processText } from '../process-facts.ts';
import { readQemuArguments } from '../qemu-command-line.ts';
import { offersMigration } from '../variant-drivers.ts';

/** The QEMU that has the device open; null: none has. */
function qemuOf({ users }: KernelDeviceFacts): ProcessFacts | null {
  return users.find(isQemu) ?? null;
}

/** What a QEMU's command line does to the migration of a kernel device. */
export const qemuVfioPciRules: readonly Rule<KernelDeviceFacts>[] = [
  {
    id: 'qemu-migration-off',
    certainty: 'certain',
    effect: 'prevents',
    finding: (facts) => {
      const qemu = qemuOf(facts);
      const off = qemu?.args.some(
        (arg) => arg.includes(facts.name) && /enable-migration["=: ]+(?:off|false)/.test(arg),
      );
      return qemu !== null && off === true
        ? `${processText(qemu)} has the device with enable-migration=off`
        : null;
    },
    why: 'The device then blocks every migration of the VM.',
    next: () => ['start the VM without enable-migration=off (the default is auto)'],
  },
  {
    id: 'qemu-viommu',
    certainty: 'likely',
    effect: 'endangers',
    finding: (facts) => {
      const qemu = qemuOf(facts);
      const viommu = qemu === null ? null : readQemuArguments(qemu.args).viommu;
      return qemu === null || viommu === null
        ? null
        : `${processText(qemu)} has an emulated IOMMU (${viommu})`;
    },
    why: 'QEMU blocks a migration with an emulated IOMMU when the device tracks its DMA writes itself.',
    next: () => ['leave the emulated IOMMU out', 'or set x-device-dirty-page-tracking=off on the device'],
  },
  {
    id: 'qemu-needs-tracking',
    certainty: 'suspected',
    effect: 'endangers',
    finding: ({ driver, machine: { settings } }) =>
      driver !== null && offersMigration(driver) && settings?.has('CONFIG_IOMMUFD') === false
        ? 'neither the device nor an IOMMU may be able to track DMA writes here'
        : null,
    why: 'With enable-migration=auto QEMU then blocks: "VFIO device doesn\'t support device and IOMMU dirty tracking".',
    next: () => ['set enable-migration=on, which sends all guest memory again during the downtime'],
  },
];
