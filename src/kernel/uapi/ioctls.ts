/** `_IO(';', number)`: VFIO and iommufd put no size and no direction into their numbers (linux/vfio.h, linux/iommufd.h). */
const io = (number: number): number => (';'.charCodeAt(0) << 8) | number;
const VFIO_BASE = 100;
const vfio = (number: number): number => io(VFIO_BASE + number);

/** The ioctls of VFIO (linux/vfio.h), without their prefix VFIO_. */
export const VfioIoctl = {
  GET_API_VERSION: vfio(0),
  CHECK_EXTENSION: vfio(1),
  SET_IOMMU: vfio(2),
  GROUP_GET_STATUS: vfio(3),
  GROUP_SET_CONTAINER: vfio(4),
  GROUP_GET_DEVICE_FD: vfio(6),
  DEVICE_GET_INFO: vfio(7),
  DEVICE_GET_REGION_INFO: vfio(8),
  DEVICE_GET_IRQ_INFO: vfio(9),
  DEVICE_SET_IRQS: vfio(10),
  DEVICE_RESET: vfio(11),
  DEVICE_FEATURE: vfio(17),
  DEVICE_BIND_IOMMUFD: vfio(18),
  DEVICE_ATTACH_IOMMUFD_PT: vfio(19),
  MIG_GET_PRECOPY_INFO: vfio(21),
  /** Of a container; the number is a device's GET_PCI_HOT_RESET_INFO too, as the following are others of devices. */
  IOMMU_GET_INFO: vfio(12),
  IOMMU_MAP_DMA: vfio(13),
  IOMMU_UNMAP_DMA: vfio(14),
  IOMMU_DIRTY_PAGES: vfio(17),
} as const;

/** The ioctls of iommufd (linux/iommufd.h), without their prefix IOMMU_. */
export const IommuIoctl = {
  DESTROY: io(0x80),
  IOAS_ALLOC: io(0x81),
  IOAS_IOVA_RANGES: io(0x84),
  IOAS_MAP: io(0x85),
  IOAS_UNMAP: io(0x86),
  IOAS_MAP_FILE: io(0x8f),
} as const;

/** The only version of VFIO's interface (VFIO_API_VERSION). */
export const VFIO_API_VERSION = 0;

/** What CHECK_EXTENSION and SET_IOMMU call the two kinds of type 1 (VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU). */
export const IommuType = { TYPE1: 1, TYPE1V2: 3 } as const;

const names = new Map<number, string>(
  [
    ...Object.entries(IommuIoctl).map(([name, number]) => [`IOMMU_${name}`, number] as const),
    ...Object.entries(VfioIoctl).map(([name, number]) => [`VFIO_${name}`, number] as const),
  ].map(([name, number]) => [number, name]),
);

/** The name of an ioctl, for messages. Of numbers that containers and devices share, the container's. */
export function ioctlName(number: number): string {
  return names.get(number) ?? `ioctl 0x${number.toString(16)}`;
}
