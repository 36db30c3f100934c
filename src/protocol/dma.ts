import { Errno } from '../errors/index.ts';
import { bitmapSize } from './bitmap-size.ts';
import { body, optional } from './body.ts';
import { Command } from './commands.ts';
import { empty } from './empty.ts';
import { flags } from './flags.ts';
import { struct, u32, u64, type ValueOfStruct } from './layout.ts';
import { MAX_BITMAP_SIZE } from './limits.ts';
import { message } from './message.ts';
import { payload, type Rule } from './payload.ts';
import { argszAtLeast, isPowerOfTwo, rangeFits } from './rules.ts';
import { bytes, older } from './tails.ts';

/** Flags of DMA_MAP (vfio-user.rst of QEMU 11.1, VFIO_USER_DMA_MAP). */
export const DmaMapFlag = flags(
  { READ: 1, WRITE: 2, MMAP: 4, FILE_IO: 8 },
  {
    READ: 'the device may read the region',
    WRITE: 'the device may write the region',
    MMAP: 'access by mmap of the descriptor',
    FILE_IO: 'access by pread and pwrite on the descriptor',
  },
);

const { READ, WRITE, MMAP, FILE_IO } = DmaMapFlag;

/** The payload of DMA_MAP. */
export const DmaMap = struct('DMA map', {
  argsz: u32('size of this structure'),
  flags: u32('protection and way of access', { format: DmaMapFlag, strict: true }),
  offset: u64('offset of the region in the file, 0 without a descriptor', { format: 'hex' }),
  address: u64('IOVA of the region', { format: 'hex' }),
  size: u64('bytes', { format: 'hex' }),
});

/** The value of {@link DmaMap}. */
export type DmaMap = ValueOfStruct<typeof DmaMap>;

const sizeNotZero = (
  unless: (value: { flags: number }) => boolean,
): Rule<{ flags: number; size: bigint }> => ({
  field: 'size',
  must: 'not be 0',
  source: 'kernel, vfio_iommu_type1.c: EINVAL',
  holds: (value) => value.size > 0n || unless(value),
});

/** DMA_MAP (vfio-user.rst, VFIO_USER_DMA_MAP). */
export const dmaMap = message({
  command: Command.DMA_MAP,
  doc: 'Offers a range of guest memory to the device.',
  request: payload('DMA_MAP request', {
    fixed: DmaMap,
    trailing: 'tolerated',
    rules: [
      argszAtLeast(DmaMap.size, 'libvfio-user: EINVAL'),
      {
        field: 'flags',
        must: 'have READ, WRITE or both',
        source: 'kernel, vfio_iommu_type1.c: EINVAL without protection',
        holds: (value) => (value.flags & (READ | WRITE)) !== 0,
      },
      {
        field: 'flags',
        must: 'not have both MMAP and FILE_IO',
        source: 'libvfio-user: EINVAL',
        holds: (value) => (value.flags & (MMAP | FILE_IO)) !== (MMAP | FILE_IO),
      },
      sizeNotZero(() => false),
      rangeFits('address', 'size', 'kernel, vfio_iommu_type1.c: EOVERFLOW'),
      rangeFits('offset', 'size', 'kernel, vfio_iommu_type1.c: EOVERFLOW, as for its vaddr'),
    ],
    fdRules: [
      {
        must: 'be at least one with MMAP or FILE_IO',
        source: 'text of QEMU 11.1, VFIO_USER_DMA_MAP: EINVAL',
        holds: (value, fds) => fds > 0 || (value.flags & (MMAP | FILE_IO)) === 0,
      },
    ],
  }),
  reply: empty('DMA_MAP reply'),
  fds: { request: { max: 1, doc: 'the memory; without one the server uses DMA_READ and DMA_WRITE' } },
});

/** Flags of DMA_UNMAP. The text calls the field unused; these are the kernel's, which implementations use. */
export const DmaUnmapFlag = flags(
  { GET_DIRTY_BITMAP: 1, ALL: 2 },
  {
    GET_DIRTY_BITMAP: 'the reply brings the dirty bitmap of the region',
    ALL: 'every region at once; address and size are 0',
  },
);

/** The fixed part of DMA_UNMAP. */
export const DmaUnmap = struct('DMA unmap', {
  argsz: u32('largest reply payload, bytes'),
  flags: u32('what to unmap and return', { format: DmaUnmapFlag, strict: true }),
  address: u64('IOVA of the region', { format: 'hex' }),
  size: u64('bytes', { format: 'hex' }),
});

/** What GET_DIRTY_BITMAP adds to DMA_UNMAP. */
export const DmaUnmapBitmap = struct('dirty bitmap', {
  pgsize: u64('bytes that one bit stands for'),
  size: u64('bytes of the bitmap'),
});

const { GET_DIRTY_BITMAP, ALL } = DmaUnmapFlag;

type UnmapRequest = ValueOfStruct<typeof DmaUnmap> & { bitmap: ValueOfStruct<typeof DmaUnmapBitmap> | null };

const unmapRules: readonly Rule<UnmapRequest>[] = [
  argszAtLeast(DmaUnmap.size, 'libvfio-user: EINVAL'),
  {
    field: 'flags',
    must: 'not have both ALL and GET_DIRTY_BITMAP',
    source: 'kernel, vfio_iommu_type1.c: EINVAL',
    holds: (value) => (value.flags & (ALL | GET_DIRTY_BITMAP)) !== (ALL | GET_DIRTY_BITMAP),
  },
  {
    field: 'address',
    must: 'be 0, and size too, with ALL',
    source: 'kernel, vfio_iommu_type1.c: EINVAL',
    holds: (value) => (value.flags & ALL) === 0 || (value.address === 0n && value.size === 0n),
  },
  sizeNotZero((value) => (value.flags & ALL) !== 0),
  rangeFits('address', 'size', 'kernel, vfio_iommu_type1.c: EOVERFLOW'),
  {
    field: 'bitmap',
    must: 'have a pgsize that is a power of two',
    source: 'kernel, vfio_iommu_type1.c: EINVAL for a page size that is not supported',
    holds: ({ bitmap }) => bitmap === null || isPowerOfTwo(bitmap.pgsize),
  },
  {
    field: 'bitmap',
    must: `have a size that holds a bit per page, and at most ${MAX_BITMAP_SIZE}`,
    source: 'kernel, vfio_iommu_type1.c, verify_bitmap_size: EINVAL',
    holds: ({ bitmap, size }) =>
      bitmap === null || (bitmap.size <= MAX_BITMAP_SIZE && bitmap.size >= bitmapSize(size, bitmap.pgsize)),
  },
  {
    field: 'argsz',
    must: 'have room for the bitmap',
    source: 'libvfio-user: EINVAL',
    holds: ({ argsz, bitmap }) =>
      bitmap === null || BigInt(argsz) >= BigInt(DmaUnmap.size + DmaUnmapBitmap.size) + bitmap.size,
  },
];

/** DMA_UNMAP (vfio-user.rst, VFIO_USER_DMA_UNMAP). */
export const dmaUnmap = message({
  command: Command.DMA_UNMAP,
  doc: 'Withdraws a range of guest memory; the reply says that the server holds no reference to it any more.',
  request: payload('DMA_UNMAP request', {
    fixed: DmaUnmap,
    tail: optional('bitmap', 'the bitmap wanted', GET_DIRTY_BITMAP, body(DmaUnmapBitmap, null)),
    trailing: 'tolerated',
    rules: unmapRules,
  }),
  reply: payload('DMA_UNMAP reply', {
    fixed: DmaUnmap,
    tail: optional(
      'bitmap',
      'the dirty bitmap',
      GET_DIRTY_BITMAP,
      body(
        DmaUnmapBitmap,
        bytes('data', 'one bit per page, lowest address in the lowest bit', { length: 'size' }),
      ),
    ),
    trailing: 'tolerated',
  }),
});

/** The fixed part of DMA_READ and DMA_WRITE, in both directions. */
export const DmaAccess = struct('DMA access', {
  address: u64('IOVA', { format: 'hex' }),
  count: u64('bytes, at most the max_data_xfer_size of the receiver; a reply may name fewer'),
});

/** The value of {@link DmaAccess}. */
export type DmaAccess = ValueOfStruct<typeof DmaAccess>;

const OldDmaWriteReply = struct('DMA access (until QEMU 10.2)', {
  address: u64('IOVA', { format: 'hex' }),
  count: u32('bytes'),
});

const dmaFits = rangeFits(
  'address',
  'count',
  'as for DMA_MAP; no region can contain such a range',
  Errno.EINVAL,
);

/** DMA_READ (vfio-user.rst, VFIO_USER_DMA_READ). */
export const dmaRead = message({
  command: Command.DMA_READ,
  doc: 'Reads guest memory. Sent by the server, on the twin socket when there is one.',
  sender: 'server',
  request: payload('DMA_READ request', { fixed: DmaAccess, rules: [dmaFits] }),
  reply: payload('DMA_READ reply', {
    fixed: DmaAccess,
    tail: bytes('data', 'what was read, count bytes', { length: 'count' }),
  }),
});

/** DMA_WRITE (vfio-user.rst, VFIO_USER_DMA_WRITE). */
export const dmaWrite = message({
  command: Command.DMA_WRITE,
  doc: 'Writes guest memory. Sent by the server, on the twin socket when there is one.',
  sender: 'server',
  request: payload('DMA_WRITE request', {
    fixed: DmaAccess,
    tail: bytes('data', 'what to write, count bytes', { length: 'count' }),
    rules: [dmaFits],
  }),
  reply: payload('DMA_WRITE reply', {
    fixed: DmaAccess,
    older: older(OldDmaWriteReply, ({ address, count }) => ({ address, count: BigInt(count) })),
  }),
});
