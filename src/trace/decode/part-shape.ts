import {
  FEATURE_MASK,
  FeatureFlag,
  FeatureHead,
  type FieldPlace,
  type FlagSet,
  featureName,
  Header,
  HeaderFlag,
} from '../../protocol/index.ts';

/** Some bits of a field: where they are, and what their value is called. */
export interface PartShape {
  readonly name: string;
  readonly mask: number;
  /** The name of a value of several bits; null for a single bit. */
  readonly print: ((value: number) => string) | null;
}

/** The type of a message, in the header's flags. */
const TYPE_NAMES = ['COMMAND', 'REPLY'];

const bitsOf = (set: FlagSet): PartShape[] =>
  set.bits.map(({ name, value }) => ({ name: name.toLowerCase(), mask: value, print: null }));

/** Fields that a function prints, and that are flags with a number among them. */
const mixed = new Map<FieldPlace['field'], readonly PartShape[]>([
  [
    Header.declared.flags,
    bitsOf(HeaderFlag).map((part) =>
      part.mask === HeaderFlag.TYPE_MASK
        ? { name: 'type', mask: part.mask, print: (type) => TYPE_NAMES[type] ?? `type ${type}` }
        : part,
    ),
  ],
  [
    FeatureHead.declared.flags,
    [{ name: 'feature', mask: FEATURE_MASK, print: featureName }, ...bitsOf(FeatureFlag)],
  ],
]);

const cache = new Map<FieldPlace['field'], readonly PartShape[]>();

/** The parts of a field that is made of flags; empty for any other. */
export function partsOf({ field }: FieldPlace): readonly PartShape[] {
  const known = mixed.get(field) ?? cache.get(field);
  if (known !== undefined) return known;
  const { format } = field.options;
  const parts = typeof format === 'object' ? bitsOf(format) : [];
  cache.set(field, parts);
  return parts;
}

/** How far the bits of a mask are from the lowest bit. */
export function shiftOf(mask: number): number {
  return 31 - Math.clz32(mask & -mask);
}
