import { Command } from './commands.ts';
import { flags } from './flags.ts';
import { padding, struct, u32, u64, type ValueOfStruct } from './layout.ts';
import { message } from './message.ts';
import { payload } from './payload.ts';
import { argszAtLeast } from './rules.ts';
import { extent, type Tail } from './tail.ts';
import { array, older } from './tails.ts';

/** Ways to signal an access through a descriptor. SHADOW is libvfio-user's. */
export const IoFdType = { IOEVENTFD: 0, IOREGIONFD: 1, SHADOW: 2 } as const;

/** Flags of an ioeventfd (linux/kvm.h, KVM_IOEVENTFD_FLAG_). */
export const IoEventfdFlag = flags(
  { DATAMATCH: 1, PIO: 2 },
  { DATAMATCH: 'only writes of the value in datamatch', PIO: 'the region is in the I/O space' },
);

const typeNames = new Map<number, string>(Object.entries(IoFdType).map(([name, value]) => [value, name]));
const typeName = (type: number): string => typeNames.get(type) ?? `type ${type}`;

/** `fd_index` and `shadow_mem_fd_index` without a descriptor (libvfio-user). */
export const NO_FD_INDEX = 0xffff_ffff;

/** The fixed part of DEVICE_GET_REGION_IO_FDS. */
export const RegionIoFds = struct('region I/O descriptors', {
  argsz: u32('request: largest reply payload; reply: bytes needed, sub-regions included'),
  flags: u32('0', { only: 0 }),
  index: u32('which region'),
  count: u32('request: 0; reply: how many sub-regions there are'),
});

const span = {
  offset: u64('bytes from the start of the region', { format: 'hex' }),
  size: u64('bytes, 0 when the size of an access does not matter'),
  fdIndex: u32('which of the descriptors of the message, 0xffffffff for none', { format: 'hex' }),
  type: u32('0 ioeventfd, 1 ioregionfd, 2 ioeventfd with the value in shadow memory', { format: typeName }),
  flags: u32('1 only writes of the value in datamatch, 2 I/O space', { format: IoEventfdFlag }),
} as const;

/** A sub-region as libvfio-user sends it, 48 bytes. */
export const IoSubRegion = struct('sub-region (48 bytes)', {
  ...span,
  shadowMemFdIndex: u32('shadow: descriptor of the memory to write to', { format: 'hex' }),
  shadowOffset: u64('shadow: where in that memory', { format: 'hex' }),
  datamatch: u64('ioeventfd: value to match; ioregionfd: user data', { format: 'hex' }),
});

/** The value of {@link IoSubRegion}. */
export type IoSubRegion = ValueOfStruct<typeof IoSubRegion>;

/** A sub-region as the text has it, 40 bytes. */
const TextSubRegion = struct('sub-region (40 bytes)', {
  ...span,
  padding: padding(4),
  datamatch: u64('ioeventfd: value to match; ioregionfd: user data', { format: 'hex' }),
});

const upgrade = older(TextSubRegion, (value) => ({
  ...value,
  shadowMemFdIndex: NO_FD_INDEX,
  shadowOffset: 0n,
}));

const whole = array('subRegions', 'the sub-regions, unless argsz was too small for them', IoSubRegion, {
  count: 'count',
  older: [upgrade],
});

/** Sub-regions, or null in a reply that only says how large argsz must be. */
const subRegions: Tail<'subRegions', readonly IoSubRegion[] | null, 'count'> = {
  ...whole,
  read: (cursor, fixed) =>
    cursor.left === 0 && extent(fixed, 'count') !== 0 ? null : whole.read(cursor, fixed),
  size: (value) => (value === null ? 0 : whole.size(value)),
  write: (bytes, at, value) => {
    if (value !== null) whole.write(bytes, at, value);
  },
  link: (value, fixed) => (value === null ? {} : whole.link(value, fixed)),
  print: (value) => (value === null ? 'sub_regions=left out' : whole.print(value)),
};

/** DEVICE_GET_REGION_IO_FDS (vfio-user.rst, VFIO_USER_DEVICE_GET_REGION_IO_FDS). */
export const deviceGetRegionIoFds = message({
  command: Command.DEVICE_GET_REGION_IO_FDS,
  doc: 'Descriptors through which accesses to parts of a region reach the server without a message.',
  request: payload('DEVICE_GET_REGION_IO_FDS request', {
    fixed: RegionIoFds,
    trailing: 'tolerated',
    rules: [
      argszAtLeast(RegionIoFds.size, 'libvfio-user: EINVAL'),
      {
        field: 'count',
        must: 'be 0',
        source: 'text: "all other fields must be zero"; libvfio-user: EINVAL',
        holds: ({ count }) => count === 0,
      },
    ],
  }),
  reply: payload('DEVICE_GET_REGION_IO_FDS reply', {
    fixed: RegionIoFds,
    tail: subRegions,
    rules: [
      {
        field: 'argsz',
        must: 'be larger than the reply when the sub-regions are left out',
        source: 'text, Message sizes',
        holds: (value) => value.subRegions !== null || value.argsz > RegionIoFds.size,
      },
    ],
  }),
  fds: { reply: { max: 'max_msg_fds', doc: 'the descriptors that the sub-regions name, each once' } },
});
