/** The interrupt indices of a VFIO PCI device (VFIO_PCI_*_IRQ_INDEX in linux/vfio.h). */
export const IrqIndex = { INTX: 0, MSI: 1, MSIX: 2, ERR: 3, REQ: 4 } as const;
export type IrqIndex = (typeof IrqIndex)[keyof typeof IrqIndex];

/** How many indices there are (VFIO_PCI_NUM_IRQS). */
export const IRQ_INDEX_COUNT = 5;

/** VFIO_IRQ_INFO_* in linux/vfio.h. */
export const IrqFlag = { EVENTFD: 1, MASKABLE: 2, AUTOMASKED: 4, NORESIZE: 8 } as const;
