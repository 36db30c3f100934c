import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseJson } from '../../src/protocol/json-text.ts';
import { hex } from './support.ts';

const utf8 = new TextEncoder();

function refuse(reason: string): never {
  throw new RangeError(reason);
}

const parse = (raw: Uint8Array, depth = 3): unknown => parseJson(raw, depth, refuse);

it('gives back any JSON that does not nest too deep', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
      expect(parse(utf8.encode(JSON.stringify(value)), 4)).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});

it.each([
  ['[[[1]]]', 3],
  ['{"a":{"b":[]}}', 3],
  ['["[[[[", "\\"[[["]', 1],
  ['[1,[2],[3],[4]]', 2],
])('counts levels, not brackets, and not those in strings: %s has %s', (text, depth) => {
  expect(() => parse(utf8.encode(text), depth)).not.toThrow();
  expect(() => parse(utf8.encode(text), depth - 1)).toThrow('nests too deep');
});

it.each([
  ['an unfinished object', '7b'],
  ['an unfinished string', '22'],
  ['nothing', ''],
  ['an overlong form', '22c08022'],
  ['a lone surrogate', '22eda08022'],
  ['two values', '312032'],
])('refuses %s', (_, bytes) => {
  expect(() => parse(hex(bytes))).toThrow('is no JSON in UTF-8');
});
