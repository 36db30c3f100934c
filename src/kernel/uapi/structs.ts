/**
 * The structures of linux/vfio.h and linux/iommufd.h that the wire of vfio-user does not have, or has otherwise. Those
 * of devices, regions, interrupts and most features are the same there and are taken from `protocol`.
 */
import {
  flags,
  i32,
  LoggingControl,
  LoggingReport,
  padding,
  struct,
  u32,
  u64,
} from '../../protocol/index.ts';

/** Where a pointer goes: the addon fills it in. */
const pointer = (doc: string) => u64(`address of ${doc}`, { format: 'hex' });

/** Flags of a group (VFIO_GROUP_FLAGS_). */
export const GroupFlag = flags(
  { VIABLE: 1, CONTAINER_SET: 2 },
  { VIABLE: 'every device of the group may be used by VFIO', CONTAINER_SET: 'it belongs to a container' },
);

/** GROUP_GET_STATUS (struct vfio_group_status). */
export const GroupStatus = struct('group status', {
  argsz: u32('bytes of the structure'),
  flags: u32('what holds for the group', { format: GroupFlag }),
});

/** DEVICE_BIND_IOMMUFD (struct vfio_device_bind_iommufd), as it was when it appeared. */
export const BindIommufd = struct('bind iommufd', {
  argsz: u32('bytes of the structure'),
  flags: u32('0', { only: 0 }),
  iommufd: i32('the open /dev/iommu'),
  outDevid: u32('answer: what iommufd calls the device'),
});

/** DEVICE_ATTACH_IOMMUFD_PT (struct vfio_device_attach_iommufd_pt), as it was when it appeared. */
export const AttachIommufd = struct('attach iommufd', {
  argsz: u32('bytes of the structure'),
  flags: u32('0', { only: 0 }),
  ptId: u32('the address space to translate through'),
});

/** IOMMU_GET_INFO (struct vfio_iommu_type1_info). Capabilities follow. */
export const Type1Info = struct('type 1 info', {
  argsz: u32('bytes of the answer, capabilities included'),
  flags: u32('1: page sizes, 2: capabilities'),
  iovaPgsizes: u64('page sizes, or-ed together', { format: 'hex' }),
  capOffset: u32('the first capability'),
  pad: padding(4),
});

/** Flags of {@link Type1Info} (VFIO_IOMMU_INFO_). */
export const Type1InfoFlag = { PGSIZES: 1, CAPS: 2 } as const;

/** Capabilities of {@link Type1Info} (VFIO_IOMMU_TYPE1_INFO_). */
export const Type1Capability = { IOVA_RANGE: 1, MIGRATION: 2, DMA_AVAIL: 3 } as const;

/** What follows the header of the capability IOVA_RANGE; ranges follow. */
export const IovaRangeCapability = struct('IOVA ranges', {
  nrIovas: u32('how many ranges follow'),
  reserved: padding(4),
});

/** A range of IOVAs (struct vfio_iova_range, struct iommu_iova_range): both ends belong to it. */
export const IovaRange = struct('IOVA range', {
  start: u64('first IOVA', { format: 'hex' }),
  last: u64('last IOVA', { format: 'hex' }),
});

/** IOMMU_MAP_DMA (struct vfio_iommu_type1_dma_map). */
export const Type1Map = struct('type 1 map', {
  argsz: u32('bytes of the structure'),
  flags: u32('1: the device may read, 2: it may write'),
  vaddr: pointer('the memory'),
  iova: u64('IOVA', { format: 'hex' }),
  size: u64('bytes', { format: 'hex' }),
});

/** IOMMU_UNMAP_DMA (struct vfio_iommu_type1_dma_unmap). */
export const Type1Unmap = struct('type 1 unmap', {
  argsz: u32('bytes of the structure'),
  flags: u32('0'),
  iova: u64('IOVA', { format: 'hex' }),
  size: u64('bytes; answer: bytes that were unmapped', { format: 'hex' }),
});

/** IOMMU_DIRTY_PAGES (struct vfio_iommu_type1_dirty_bitmap), without what GET_BITMAP adds. */
export const DirtyPages = struct('dirty pages', {
  argsz: u32('bytes of the structure'),
  flags: u32('one of DirtyPagesFlag'),
});

/** VFIO_IOMMU_DIRTY_PAGES_FLAG_. */
export const DirtyPagesFlag = { START: 1, STOP: 2, GET_BITMAP: 4 } as const;

/** IOMMU_DIRTY_PAGES with GET_BITMAP (struct vfio_iommu_type1_dirty_bitmap_get, struct vfio_bitmap). */
export const DirtyPagesGet = struct('dirty bitmap', {
  ...DirtyPages.declared,
  iova: u64('IOVA, as it was mapped', { format: 'hex' }),
  size: u64('bytes, as they were mapped', { format: 'hex' }),
  pgsize: u64('bytes that one bit stands for'),
  bitmapSize: u64('bytes of the bitmap'),
  data: pointer('the bitmap'),
});

/** DMA_LOGGING_START (struct vfio_device_feature_dma_logging_control). */
export const KernelLoggingControl = struct('DMA logging control', {
  ...LoggingControl.declared,
  ranges: pointer('the ranges'),
});

/** DMA_LOGGING_REPORT (struct vfio_device_feature_dma_logging_report). */
export const KernelLoggingReport = struct('DMA logging report', {
  ...LoggingReport.declared,
  bitmap: pointer('the bitmap'),
});

/** IOAS_ALLOC (struct iommu_ioas_alloc). */
export const IoasAlloc = struct('IOAS alloc', {
  size: u32('bytes of the structure'),
  flags: u32('0', { only: 0 }),
  outIoasId: u32('answer: the address space'),
});

/** Protection of IOAS_MAP and IOAS_MAP_FILE (IOMMU_IOAS_MAP_). */
export const IoasMapFlag = { FIXED_IOVA: 1, WRITEABLE: 2, READABLE: 4 } as const;

/** IOAS_MAP (struct iommu_ioas_map). */
export const IoasMap = struct('IOAS map', {
  size: u32('bytes of the structure'),
  flags: u32('IoasMapFlag'),
  ioasId: u32('the address space'),
  reserved: padding(4),
  userVa: pointer('the memory'),
  length: u64('bytes', { format: 'hex' }),
  iova: u64('IOVA', { format: 'hex' }),
});

/** IOAS_MAP_FILE (struct iommu_ioas_map_file), since Linux 6.14. */
export const IoasMapFile = struct('IOAS map file', {
  size: u32('bytes of the structure'),
  flags: u32('IoasMapFlag'),
  ioasId: u32('the address space'),
  fd: i32('the memory'),
  start: u64('where it begins in the file', { format: 'hex' }),
  length: u64('bytes', { format: 'hex' }),
  iova: u64('IOVA', { format: 'hex' }),
});

/** IOAS_UNMAP (struct iommu_ioas_unmap). */
export const IoasUnmap = struct('IOAS unmap', {
  size: u32('bytes of the structure'),
  ioasId: u32('the address space'),
  iova: u64('IOVA', { format: 'hex' }),
  length: u64('bytes; answer: bytes that were unmapped', { format: 'hex' }),
});

/** IOAS_IOVA_RANGES (struct iommu_ioas_iova_ranges). */
export const IoasIovaRanges = struct('IOAS IOVA ranges', {
  size: u32('bytes of the structure'),
  ioasId: u32('the address space'),
  numIovas: u32('room for so many ranges; answer: how many there are'),
  reserved: padding(4),
  allowedIovas: pointer('the ranges'),
  outIovaAlignment: u64('answer: what IOVAs have to be multiples of'),
});

/** Features of the kernel that make no sense on a socket (VFIO_DEVICE_FEATURE_). */
export const KernelFeature = { MIG_PRECOPY_INFO_V2: 12 } as const;
