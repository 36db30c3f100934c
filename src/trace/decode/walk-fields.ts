import { type ElementShape, type FieldPlace, printScalar } from '../../protocol/index.ts';
import type { FieldNode, FieldPart } from './field-node.ts';
import { partsOf, shiftOf } from './part-shape.ts';

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
    nodes.push(scalarNode(place, key, offset, value));
  }
  return { nodes, values, whole: true };
}

function scalarNode(place: FieldPlace, prefix: string, offset: number, value: number | bigint): FieldNode {
  const { wireName: name, field } = place;
  const key = `${prefix}.${name}`;
  const text = printScalar(value, field.options.format);
  const parts = partsOf(place).map((part): FieldPart => {
    const bits = Number((BigInt(value) & BigInt(part.mask)) >> BigInt(shiftOf(part.mask)));
    return {
      ...{ key: `${key}.${part.name}`, name: part.name, mask: part.mask, value: bits },
      text: part.print === null ? String(bits) : part.print(bits),
    };
  });
  return { key, name, offset, size: field.size, value, text, parts, children: [] };
}

/** A count or length as a number; Infinity when it is too large for one or was not there. */
export function extentOf(values: FixedValues, field: string): number {
  const value = values.get(field);
  if (typeof value === 'number') return value;
  if (value === undefined || value > BigInt(Number.MAX_SAFE_INTEGER)) return Number.POSITIVE_INFINITY;
  return Number(value);
}
