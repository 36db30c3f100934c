import { Command } from './commands.ts';
import { flags } from './flags.ts';
import { struct, u32, u64, type ValueOfStruct } from './layout.ts';
import { message } from './message.ts';
import { payload } from './payload.ts';
import { capabilityChain } from './region-capabilities.ts';
import { argszAtLeast } from './rules.ts';

/** Flags of a region (linux/vfio.h, VFIO_REGION_INFO_FLAG_). */
export const RegionInfoFlag = flags(
  { READ: 1, WRITE: 2, MMAP: 4, CAPS: 8 },
  {
    READ: 'can be read',
    WRITE: 'can be written',
    MMAP: 'can be mapped, as a whole or in the areas of a sparse mmap capability; a descriptor comes along',
    CAPS: 'capabilities follow',
  },
);

/** The fixed part of DEVICE_GET_REGION_INFO (linux/vfio.h, struct vfio_region_info). */
export const RegionInfo = struct('region info', {
  argsz: u32('request: largest reply payload; reply: bytes needed, capabilities included'),
  flags: u32('request: 0; reply: attributes of the region', { format: RegionInfoFlag }),
  index: u32('which region'),
  capOffset: u32('reply: where the capabilities begin in the payload, 0 without'),
  size: u64('reply: bytes', { format: 'hex' }),
  offset: u64('reply: what to give mmap as offset', { format: 'hex' }),
});

/** The value of {@link RegionInfo}. */
export type RegionInfo = ValueOfStruct<typeof RegionInfo>;

/** DEVICE_GET_REGION_INFO (vfio-user.rst, VFIO_USER_DEVICE_GET_REGION_INFO). */
export const deviceGetRegionInfo = message({
  command: Command.DEVICE_GET_REGION_INFO,
  doc: 'Size, access and mappable areas of one region. With too small an argsz the reply is the fixed part alone.',
  request: payload('DEVICE_GET_REGION_INFO request', {
    fixed: RegionInfo,
    trailing: 'tolerated',
    rules: [argszAtLeast(RegionInfo.size, 'kernel, vfio_pci_core.c: EINVAL')],
  }),
  reply: payload('DEVICE_GET_REGION_INFO reply', {
    fixed: RegionInfo,
    tail: capabilityChain(RegionInfo.size, RegionInfoFlag.CAPS),
    rules: [
      {
        field: 'flags',
        must: 'have CAPS when there are capabilities',
        source: 'text, VFIO_REGION_INFO_FLAG_CAPS',
        holds: (value) => value.capabilities.length === 0 || (value.flags & RegionInfoFlag.CAPS) !== 0,
      },
      {
        field: 'capabilities',
        must: 'have sparse areas inside the region',
        source: 'text, VFIO sparse mmap cap: areas are parts of the region',
        holds: ({ capabilities, size }) =>
          capabilities.every(
            (one) => one.kind !== 'sparse-mmap' || one.areas.every((area) => area.offset + area.size <= size),
          ),
      },
    ],
  }),
  fds: { reply: { max: 1, doc: 'the memory of the region, with MMAP' } },
});
