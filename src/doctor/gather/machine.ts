import { isVfioDriver, type MachineFacts, type PciCandidate } from '../kernel-facts.ts';
import { variantDriverFor } from '../variant-drivers.ts';
import type { Host } from './host.ts';
import { kernelSettings } from './kernel-settings.ts';
import { loadableModules, loadedModules } from './modules.ts';

/** What of VFIO the machine has, by /proc, /sys, /dev and the kernel's own files. */
export function gatherMachine(host: Host): MachineFacts {
  const release = host.text('proc/sys/kernel/osrelease');
  return {
    release,
    settings: kernelSettings(host, release),
    commandLine: host.text('proc/cmdline') ?? '',
    iommus: host.list('sys/class/iommu') ?? [],
    groupCount: (host.list('sys/kernel/iommu_groups') ?? []).length,
    tables: ['DMAR', 'IVRS'].filter((name) => host.has('sys/firmware/acpi/tables', name)),
    loaded: loadedModules(host),
    loadable: loadableModules(host, release),
    container: host.file('dev/vfio/vfio'),
    iommufd: host.file('dev/iommu'),
    candidates: candidates(host),
    mdevParents: host.list('sys/class/mdev_bus') ?? [],
    caller: host.caller,
  };
}

/** The three numbers by which a PCI device is known; null when sysfs does not tell. */
export function pciId(host: Host, address: string) {
  const [vendor, device, classCode] = ['vendor', 'device', 'class'].map((name) =>
    Number(host.text('sys/bus/pci/devices', address, name) ?? Number.NaN),
  );
  if (vendor === undefined || device === undefined || classCode === undefined) return null;
  return [vendor, device, classCode].every(Number.isInteger) ? { vendor, device, classCode } : null;
}

function candidates(host: Host): PciCandidate[] {
  return (host.list('sys/bus/pci/devices') ?? []).flatMap((address) => {
    const driver = host.linkName('sys/bus/pci/devices', address, 'driver');
    const id = pciId(host, address);
    const isVf = host.link('sys/bus/pci/devices', address, 'physfn') !== null;
    const variant = id === null || !isVf ? null : variantDriverFor(id.vendor, id.device, id.classCode);
    const involved = variant !== null || (driver !== null && isVfioDriver(driver));
    return involved ? [{ address, driver, variant }] : [];
  });
}
