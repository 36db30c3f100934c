/** What to type to give a PCI device to another driver. */
export function bindTo(address: string, module: string): string[] {
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
