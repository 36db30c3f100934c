/**
 * Whether this host is little-endian. vfio-user sends everything in the host's byte order ("all data is in the
 * endianness of the host system", vfio-user.rst, Protocol Specification), so this is the second argument of every
 * DataView access to a message.
 */
export const littleEndian: boolean = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

const LOW = littleEndian ? 0 : 4;
const HIGH = littleEndian ? 4 : 0;
const HIGH_UNIT = 0x1_0000_0000;
/** The high half of 2^53: a number holds integers exactly only below it. */
const HIGH_LIMIT = 0x20_0000;

/**
 * The u64 at `at` as a number, or -1 when it is 2^53 or more (a number would round it). Allocates nothing, which a
 * bigint would; for hot paths that compare the result with a size anyway.
 */
export function readU64AsNumber(view: DataView, at: number): number {
  const high = view.getUint32(at + HIGH, littleEndian);
  return high >= HIGH_LIMIT ? -1 : high * HIGH_UNIT + view.getUint32(at + LOW, littleEndian);
}

/** Writes an integer from 0 to 2^53 - 1 as a u64 at `at`, without a bigint. The caller has checked the range. */
export function writeU64FromNumber(view: DataView, at: number, value: number): void {
  view.setUint32(at + HIGH, Math.floor(value / HIGH_UNIT), littleEndian);
  view.setUint32(at + LOW, value % HIGH_UNIT, littleEndian);
}
