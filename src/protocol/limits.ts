/** What a peer that names no `max_msg_fds` takes in one message (vfio-user.rst, Version). */
export const DEFAULT_MAX_MSG_FDS = 1;

/** What a peer that names no `max_data_xfer_size` takes as `count`, bytes (vfio-user.rst, Version). */
export const DEFAULT_MAX_DATA_XFER_SIZE = 1_048_576;

/** How many DMA windows a peer that names no `max_dma_maps` allows at once (vfio-user.rst, Version). */
export const DEFAULT_MAX_DMA_MAPS = 65_535;

/** Page sizes or-ed together of a peer that names no `pgsizes`: only 4 KiB (vfio-user.rst, Version). */
export const DEFAULT_PGSIZES = 4096;

/** The largest `max_msg_fds` that is accepted in a proposal (libvfio-user: more is EINVAL). */
export const MAX_PROPOSED_MSG_FDS = 1024;

/** How many descriptors one message can carry on a UNIX socket (Linux include/net/scm.h, SCM_MAX_FD). */
export const MAX_FDS_PER_MESSAGE = 253;

/**
 * The largest `count` of a data message that Ferry sends or takes, bytes, however much a peer offers. It bounds what
 * one message can make us allocate; libvfio-user, which has no such bound, can be made to allocate 2 GiB. Ours.
 */
export const MAX_DATA_XFER_SIZE = 16 * 1024 * 1024;

/** What Ferry takes in one message unless told otherwise. 16 is also the most that QEMU 11.1 accepts from a server. */
export const OUR_MAX_MSG_FDS = 16;

/** The largest version data (JSON and NUL) that is read, bytes. QEMU sends 194, libvfio-user about 110. Ours. */
export const MAX_VERSION_DATA_SIZE = 16_384;

/** How deep objects and arrays may nest in version data; the deepest known capability needs 3. Ours. */
export const MAX_VERSION_DATA_DEPTH = 16;

/**
 * Bytes that every data message may have besides its data: the largest fixed part of any payload is 40 bytes
 * (DMA_UNMAP with a bitmap), rounded up for structures that grow. Ours.
 */
export const MESSAGE_OVERHEAD = 256;

/** The largest number of ranges that DMA_LOGGING_START takes: a page of them (Linux vfio_main.c, LOG_MAX_RANGES). */
export const MAX_LOGGING_RANGES = 256;

/** The smallest page size that DMA_LOGGING_REPORT takes, bytes (Linux vfio_main.c, SZ_4K). */
export const MIN_REPORT_PAGE_SIZE = 4096n;

/** The largest dirty bitmap, bytes (Linux vfio_iommu_type1.c, DIRTY_BITMAP_SIZE_MAX; QEMU names the same number). */
export const MAX_BITMAP_SIZE = 268_435_456;

/** The largest capability chain of a region that is followed, entries. A real one has one or two. Ours. */
export const MAX_REGION_CAPABILITIES = 64;

/** Errno values above this are not errno values (Linux include/linux/err.h, MAX_ERRNO). */
export const MAX_ERRNO = 4095;

/** How deep objects and arrays may nest in the report of FERRY_INSPECT. Ours. */
export const MAX_INSPECT_DEPTH = 32;
