import { Errno } from '../errors/index.ts';
import { littleEndian } from './byte-order.ts';
import { Command } from './commands.ts';
import { struct, u32, u64, type ValueOfStruct } from './layout.ts';
import { message } from './message.ts';
import { payload } from './payload.ts';
import { rangeFits } from './rules.ts';
import { array, bytes } from './tails.ts';

/** The fixed part of REGION_READ and REGION_WRITE, in both directions. */
export const RegionAccess = struct('region access', {
  offset: u64('bytes from the start of the region', { format: 'hex' }),
  region: u32('index of the region'),
  count: u32('bytes to transfer, at most the max_data_xfer_size of the receiver'),
});

/** The value of {@link RegionAccess}. */
export type RegionAccess = ValueOfStruct<typeof RegionAccess>;

const rangeInRegion = rangeFits(
  'offset',
  'count',
  'libvfio-user: EINVAL; text and kernel are silent',
  Errno.EINVAL,
);

/** REGION_READ (vfio-user.rst, VFIO_USER_REGION_READ). */
export const regionRead = message({
  command: Command.REGION_READ,
  doc: 'Reads from a region of the device.',
  request: payload('REGION_READ request', { fixed: RegionAccess, rules: [rangeInRegion] }),
  reply: payload('REGION_READ reply', {
    fixed: RegionAccess,
    tail: bytes('data', 'what was read, count bytes', { length: 'count' }),
  }),
});

/** REGION_WRITE (vfio-user.rst, VFIO_USER_REGION_WRITE). */
export const regionWrite = message({
  command: Command.REGION_WRITE,
  doc: 'Writes to a region of the device. Often posted: sent with NO_REPLY.',
  request: payload('REGION_WRITE request', {
    fixed: RegionAccess,
    tail: bytes('data', 'what to write, count bytes', { length: 'count' }),
    rules: [rangeInRegion],
  }),
  reply: payload('REGION_WRITE reply', { fixed: RegionAccess }),
});

/** One write of a REGION_WRITE_MULTI. */
export const MultiWrite = struct('single write', {
  offset: u64('bytes from the start of the region', { format: 'hex' }),
  region: u32('index of the region'),
  count: u32('bytes to write, at most 8'),
  data: u64('the bytes, the first `count` in memory order', { format: 'hex' }),
});

/** REGION_WRITE_MULTI (vfio-user.rst, VFIO_USER_REGION_WRITE_MULTI). */
export const regionWriteMulti = message({
  command: Command.REGION_WRITE_MULTI,
  doc: 'Several writes of up to 8 bytes in one message; only to a peer that agreed to write_multiple.',
  request: payload('REGION_WRITE_MULTI request', {
    fixed: struct('write count', { wrCnt: u64('how many writes follow') }),
    tail: array('wrs', 'the writes, done in this order', MultiWrite, { count: 'wrCnt' }),
    rules: [
      {
        field: 'wrs',
        must: 'each write at most 8 bytes',
        source: 'text, Single Device Write Format: "can only describe writes of 8 bytes or less"',
        holds: ({ wrs }) => wrs.every(({ count }) => count <= 8),
      },
    ],
  }),
  reply: payload('REGION_WRITE_MULTI reply', {
    fixed: struct('write count', { wrCnt: u64('how many writes were completed') }),
  }),
});

/**
 * Writes the fixed part of a REGION_READ or REGION_WRITE reply, which repeats the request's 16 bytes. `from` and `to`
 * are the offsets of the two payloads in their buffers. Allocates nothing.
 */
export function echoRegionAccess(request: DataView, from: number, reply: DataView, to: number): void {
  for (let at = 0; at < RegionAccess.size; at += 4) {
    reply.setUint32(to + at, request.getUint32(from + at, littleEndian), littleEndian);
  }
}
