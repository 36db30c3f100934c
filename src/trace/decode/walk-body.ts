import { type BodyShape, type ElementShape, type TailShape, wireName } from '../../protocol/index.ts';
import type { FieldNode } from './field-node.ts';
import { bytesNode, groupNode, textNode } from './nodes.ts';
import { walkCapabilities } from './walk-capabilities.ts';
import { extentOf, type FixedValues, walkFields } from './walk-fields.ts';

/** Part of a message as nodes. */
export interface BodyNodes {
  readonly nodes: FieldNode[];
  readonly values: FixedValues;
  /** Where it ends: what lies behind belongs to nothing declared. */
  readonly end: number;
}

/** The bytes that are walked: a message, header included, with a view of exactly its bytes. */
export interface Source {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/**
 * Reads what is there of a body at `at`. Nothing is checked but that it lies inside the message; a count that promises
 * more than is there shows what is there.
 */
export function walkBody(shape: BodyShape, key: string, source: Source, at: number): BodyNodes {
  const { view } = source;
  const fixed = walkFields(shape.fixed, key, view, at, view.byteLength);
  const start = at + shape.fixed.size;
  if (!fixed.whole) return { ...fixed, end: view.byteLength };
  if (shape.tail === null) return { ...fixed, end: start };
  const { name, shape: tail } = shape.tail;
  const walked = walkTail(tail, wireName(name), key, source, { values: fixed.values, base: at, start });
  return { nodes: [...fixed.nodes, ...walked.nodes], values: fixed.values, end: walked.end };
}

/** Where a tail stands. */
interface TailPlace {
  readonly values: FixedValues;
  /** Where the body begins, and where the tail does. */
  readonly base: number;
  readonly start: number;
}

interface TailNodes {
  readonly nodes: readonly FieldNode[];
  readonly end: number;
}

function walkTail(
  shape: TailShape,
  name: string,
  prefix: string,
  source: Source,
  place: TailPlace,
): TailNodes {
  const key = `${prefix}.${name}`;
  const { bytes, view } = source;
  const { values, base, start } = place;
  const rest = view.byteLength;
  switch (shape.kind) {
    case 'bytes': {
      const wanted = shape.length === null ? Number.POSITIVE_INFINITY : extentOf(values, shape.length);
      const end = Math.min(rest, start + wanted);
      return { nodes: end > start ? [bytesNode(name, key, bytes, start, end)] : [], end };
    }
    case 'text':
      return { nodes: rest > start ? [textNode(name, key, bytes, start, rest)] : [], end: rest };
    case 'array':
      return walkArray(shape, name, key, source, place);
    case 'optional': {
      if ((extentOf(values, 'flags') & shape.flag) === 0) return { nodes: [], end: start };
      const inner = walkBody(shape.body, key, source, start);
      return { nodes: [groupNode(name, key, start, inner.end - start, inner.nodes)], end: inner.end };
    }
    case 'chain': {
      const nodes = walkCapabilities(values, prefix, bytes, view, { base, chainStart: start });
      return { nodes, end: rest };
    }
  }
}

type ArrayShape = Extract<TailShape, { kind: 'array' }>;

function walkArray(
  shape: ArrayShape,
  name: string,
  key: string,
  { view }: Source,
  place: TailPlace,
): TailNodes {
  const { values, start } = place;
  const count = extentOf(values, shape.count);
  const element = elementForm(shape, count, view.byteLength - start);
  const nodes: FieldNode[] = [];
  let at = start;
  for (let i = 0; i < count && at + element.size <= view.byteLength; i += 1) {
    const { nodes: children } = walkFields(element, key, view, at, view.byteLength);
    nodes.push(groupNode(`${name}[${i}]`, key, at, element.size, children));
    at += element.size;
  }
  return { nodes, end: at };
}

/** The form of the elements: the one whose size makes them fill what is there, else today's. */
function elementForm(shape: ArrayShape, count: number, left: number): ElementShape {
  const forms = [shape.element, ...shape.older];
  return forms.find((form) => form.size * count === left) ?? shape.element;
}
