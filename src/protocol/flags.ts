/** What every set of flags can do besides naming its bits. */
export interface FlagSet {
  /** All known bits or-ed together. */
  readonly mask: number;
  /** Every bit with its name and meaning, lowest first. */
  readonly bits: readonly FlagBit[];
  /** The bits of `value` that this set does not know, 0 when there are none. */
  unknown(value: number | bigint): bigint;
  /** `READ|WRITE`, unknown bits in hex at the end, `0` for none. */
  print(value: number | bigint): string;
}

/** One bit (or, rarely, several that belong together) of a {@link FlagSet}. */
export interface FlagBit {
  readonly name: string;
  readonly value: number;
  readonly doc: string;
}

/**
 * Declares a set of flags: the bits as properties (`DmaMapFlag.READ`), their names for printing, their meaning for
 * the documentation and the mask for finding unknown bits, all from one table.
 */
export function flags<const B extends Readonly<Record<string, number>>>(
  bits: B,
  docs: Readonly<Record<keyof B & string, string>>,
): B & FlagSet {
  const table = Object.entries(bits)
    .map(([name, value]) => ({ name, value, doc: docs[name] ?? '' }))
    .sort((a, b) => a.value - b.value);
  const mask = table.reduce((all, bit) => (all | bit.value) >>> 0, 0);
  const unknown = (value: number | bigint): bigint => BigInt(value) & ~BigInt(mask);
  const print = (value: number | bigint): string => {
    const names = table.filter((bit) => (BigInt(value) & BigInt(bit.value)) !== 0n).map((bit) => bit.name);
    const rest = unknown(value);
    if (rest !== 0n) names.push(`0x${rest.toString(16)}`);
    return names.length === 0 ? '0' : names.join('|');
  };
  return { ...bits, mask, bits: table, unknown, print };
}
