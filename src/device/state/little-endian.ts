/** Whether this host keeps its numbers little-endian, as the format of a state does. */
const hostIsLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/**
 * Copies elements of `elementSize` bytes between the host's byte order and little-endian, in either direction. Both
 * arrays have the same length, a multiple of `elementSize`.
 */
export function copyLittleEndian(
  from: Uint8Array,
  to: Uint8Array,
  elementSize: number,
  littleEndian: boolean = hostIsLittleEndian,
): void {
  to.set(from);
  if (littleEndian || elementSize === 1) return;
  for (let at = 0; at < to.length; at += elementSize) to.subarray(at, at + elementSize).reverse();
}
