/** The regions of a PCI device by index (linux/vfio.h, VFIO_PCI_*_REGION_INDEX). Device-specific ones follow. */
export const RegionIndex = {
  BAR0: 0,
  BAR1: 1,
  BAR2: 2,
  BAR3: 3,
  BAR4: 4,
  BAR5: 5,
  ROM: 6,
  CONFIG: 7,
  VGA: 8,
} as const;

/** How many regions every PCI device has (linux/vfio.h, VFIO_PCI_NUM_REGIONS). */
export const PCI_NUM_REGIONS = 9;

/** The interrupt types of a PCI device by index (linux/vfio.h, VFIO_PCI_*_IRQ_INDEX). */
export const IrqIndex = { INTX: 0, MSI: 1, MSIX: 2, ERR: 3, REQ: 4 } as const;

/** How many interrupt types every PCI device has (linux/vfio.h, VFIO_PCI_NUM_IRQS). */
export const PCI_NUM_IRQS = 5;
