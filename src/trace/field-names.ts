import { type BodyShape, features, Header, messages, wireName } from '../protocol/index.ts';
import { partsOf } from './decode/index.ts';

let known: ReadonlySet<string> | null = null;

/** Every name that a field of a message can have. */
export function fieldNames(): ReadonlySet<string> {
  known ??= collect();
  return known;
}

/** What a chain of capabilities brings; its shape is not declared as that of a body. */
const CHAIN = ['id', 'version', 'next', 'nr_areas', 'type', 'subtype', 'offset', 'size', 'data'];

function collect(): ReadonlySet<string> {
  const names = new Set<string>(['undeclared', ...CHAIN]);
  addShape(names, { fixed: Header, tail: null });
  for (const { request, reply } of messages) {
    addShape(names, request.shape);
    addShape(names, reply.shape);
  }
  for (const { get, set } of Object.values(features)) {
    for (const method of [get, set]) {
      if (method === null) continue;
      if (method.request !== null) addShape(names, method.request.shape);
      addShape(names, method.reply.shape);
    }
  }
  return names;
}

function addShape(names: Set<string>, { fixed, tail }: BodyShape): void {
  for (const place of fixed.fields) {
    names.add(place.wireName);
    for (const part of partsOf(place)) names.add(part.name);
  }
  if (tail === null) return;
  names.add(wireName(tail.name));
  if (tail.shape.kind === 'array') addShape(names, { fixed: tail.shape.element, tail: null });
  if (tail.shape.kind === 'optional') addShape(names, tail.shape.body);
}
