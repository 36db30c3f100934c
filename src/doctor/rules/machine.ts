import { mayUse, permissionsText } from '../file-facts.ts';
import type { Rule } from '../finding.ts';
import type { MachineFacts } from '../kernel-facts.ts';

const hasNoVfio = ({ loaded }: MachineFacts): boolean => !loaded.includes('vfio');

/** What a machine lacks for VFIO devices of its kernel. vfio-user needs none of it. */
export const machineRules: readonly Rule<MachineFacts>[] = [
  {
    id: 'vfio-not-built',
    certainty: 'certain',
    effect: 'prevents',
    finding: (facts) => {
      const { settings, loadable, release } = facts;
      if (!hasNoVfio(facts) || (settings === null && loadable === null)) return null;
      if (settings?.has('CONFIG_VFIO') === true || loadable?.includes('vfio') === true) return null;
      return `the kernel ${release ?? ''} is built without VFIO`;
    },
    why: 'Nothing of /dev/vfio can work.',
    next: () => [
      'use another kernel: a cloud flavour may lack it, the full flavour has it',
      'devices of vfio-user need no VFIO in the kernel',
    ],
  },
  {
    id: 'vfio-not-loaded',
    certainty: 'certain',
    effect: 'prevents',
    finding: (facts) => {
      const known = facts.loadable?.includes('vfio') === true || facts.settings?.has('CONFIG_VFIO') === true;
      return hasNoVfio(facts) && known ? 'the modules of VFIO are not loaded' : null;
    },
    why: '/dev/vfio appears with them.',
    next: () => [
      'modprobe vfio-pci',
      'for mediated devices: modprobe vfio_iommu_type1 and the driver of the parent',
    ],
  },
  {
    id: 'vfio-unknown',
    certainty: 'likely',
    effect: 'prevents',
    finding: (facts) =>
      hasNoVfio(facts) && facts.settings === null && facts.loadable === null
        ? 'no VFIO is loaded, and it can not be seen whether the kernel has it'
        : null,
    why: 'In a container the host decides; /lib/modules and /boot of the host are not there.',
    next: () => [
      'look on the host: modprobe vfio-pci; ls /dev/vfio',
      'devices of vfio-user need no VFIO in the kernel',
    ],
  },
  {
    id: 'iommu-type1-not-loaded',
    certainty: 'likely',
    effect: 'prevents',
    finding: ({ loaded, iommufd, settings }) =>
      loaded.includes('vfio') &&
      !loaded.includes('vfio_iommu_type1') &&
      iommufd.kind === 'missing' &&
      settings?.get('CONFIG_VFIO_IOMMU_TYPE1') !== 'y'
        ? 'the module vfio_iommu_type1 is not loaded'
        : null,
    why: 'A container then takes no IOMMU (VFIO_SET_IOMMU fails), so no device can be opened.',
    next: () => ['modprobe vfio_iommu_type1'],
  },
  {
    id: 'container-node',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ loaded, container, caller, iommufd }) => {
      if (!loaded.includes('vfio') || iommufd.kind === 'character device') return null;
      if (container.kind === 'missing') return '/dev/vfio/vfio does not exist';
      return mayUse(container, caller)
        ? null
        : `/dev/vfio/vfio may not be used (${permissionsText(container)})`;
    },
    why: 'A program opens it to put IOMMU groups into a container.',
    next: () => [
      'it should have mode 0666: udevadm trigger /dev/vfio/vfio',
      'in a container: pass /dev/vfio into it',
    ],
  },
  {
    id: 'iommu-off',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ iommus, groupCount }) =>
      iommus.length === 0 && groupCount === 0 ? 'no IOMMU is in use' : null,
    why: 'PCI devices can not be given away; mediated devices and vfio-user work without.',
    next: ({ tables }) =>
      tables.length === 0
        ? ['switch it on in the firmware (VT-d, AMD-Vi); in a VM, give it an emulated one']
        : ['add intel_iommu=on to the kernel command line, and boot again'],
  },
  {
    id: 'no-iommufd',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ iommufd, settings }) =>
      iommufd.kind === 'missing'
        ? `/dev/iommu does not exist${settings?.has('CONFIG_IOMMUFD') === false ? ': the kernel is built without CONFIG_IOMMUFD' : ''}`
        : null,
    why: 'Groups and containers work without; device files and the dirty tracking of IOMMUs need it.',
    next: ({ settings }) => [
      settings?.has('CONFIG_IOMMUFD') === false
        ? 'use groups (Debian builds no iommufd)'
        : 'modprobe iommufd',
    ],
  },
];
