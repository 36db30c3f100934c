import { type ElementShape, type FieldPlace, printScalar } from '../../protocol/index.ts';
import type { FieldNode, FieldPart } from './field-node.ts';
import { type PartShape, partsOf, shiftOf } from './part-shape.ts';

/** The values of fixed fields by their name in code, as far as they were there. */
export type FixedValues = Map<string, number | bigint>;

/** A fixed part as nodes. */
export interface FixedNodes {
  readonly nodes: FieldNode[];
  readonly values: FixedValues;
  /** Whether all of it was there. */
  readonly whole: boolean;
}

/** Reads what is there of a fixed part at `at`; bytes from `end` on are not there. */
export function walkFields(
  shape: ElementShape,
  key: string,
  view: DataView,
  at: number,
  end: number,
): FixedNodes {
  const nodes: FieldNode[] = [];
  const values: FixedValues = new Map();
  for (const place of shape.fields) {
    const offset = at + place.offset;
    if (offset + place.field.size > end) return { nodes, values, whole: false };
    if (place.field.type === 'padding') continue;
    const value = place.field.read(view, offset);
    values.set(place.name, value);
    nodes.push(new ScalarNode(place, keyOf(place, key), offset, value));
  }
  return { nodes, values, whole: true };
}

/** A number of the wire. What it is called is made when somebody asks: most messages are only counted. */
class ScalarNode implements FieldNode {
  readonly key: string;
  readonly offset: number;
  readonly value: number | bigint;
  readonly children: readonly FieldNode[] = NO_CHILDREN;
  readonly #place: FieldPlace;

  constructor(place: FieldPlace, key: string, offset: number, value: number | bigint) {
    this.key = key;
    this.offset = offset;
    this.value = value;
    this.#place = place;
  }

  get name(): string {
    return this.#place.wireName;
  }

  get size(): number {
    return this.#place.field.size;
  }

  get text(): string {
    return printScalar(this.value, this.#place.field.options.format);
  }

  get parts(): readonly FieldPart[] {
    return partsOf(this.#place).map((part) => partOf(part, this.key, this.value));
  }
}

const NO_CHILDREN: readonly FieldNode[] = [];

function partOf({ name, mask, print }: PartShape, key: string, value: number | bigint): FieldPart {
  // Every mask has 32 bits at most.
  const low = typeof value === 'number' ? value : Number(BigInt.asUintN(32, value));
  const bits = (low & mask) >>> shiftOf(mask);
  return {
    key: `${key}.${name}`,
    name,
    mask,
    value: bits,
    text: print === null ? String(bits) : print(bits),
  };
}

/** Keys of the fields of a shape, by the key before them: made once, not for each message. */
const keys = new Map<string, WeakMap<FieldPlace, string>>();

function keyOf(place: FieldPlace, prefix: string): string {
  let known = keys.get(prefix);
  if (known === undefined) {
    known = new WeakMap();
    keys.set(prefix, known);
  }
  let key = known.get(place);
  if (key === undefined) {
    key = `${prefix}.${place.wireName}`;
    known.set(place, key);
  }
  return key;
}

/** A count or length as a number; Infinity when it is too large for one or was not there. */
export function extentOf(values: FixedValues, field: string): number {
  const value = values.get(field);
  if (typeof value === 'number') return value;
  if (value === undefined || value > BigInt(Number.MAX_SAFE_INTEGER)) return Number.POSITIVE_INFINITY;
  return Number(value);
}
