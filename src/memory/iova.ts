/** One past the highest IOVA. */
export const IOVA_END = 1n << 64n;

/** An address the way people write it: `0xfee00000`. */
export function hex(address: bigint): string {
  return address < 0n ? `-0x${(-address).toString(16)}` : `0x${address.toString(16)}`;
}
