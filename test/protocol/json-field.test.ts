import { describe, expect, it } from 'vitest';
import { boolean, integer, object, powerOfTwo, shapeName } from '../../src/protocol/json-field.ts';
import { refusal } from './support.ts';

const sample = object('sample', {
  someCount: integer('count', 1, 10),
  flag: boolean('flag'),
  pageSize: powerOfTwo('page size', 2),
  inner: object('inner', { anyNumber: integer('number', 0) }),
});

it('reads and writes members under their wire names', () => {
  const json = { some_count: 3, flag: false, page_size: 4096, inner: { any_number: 2 ** 53 - 1 } };
  const value = { someCount: 3, flag: false, pageSize: 4096, inner: { anyNumber: 2 ** 53 - 1 } };
  expect(sample.parse(json, 'x')).toEqual(value);
  expect(sample.toJson(value, 'x')).toEqual(json);
});

it('takes what is absent as not named and ignores what it does not know', () => {
  expect(sample.parse({ unknown: [1, { deep: null }], someCount: 'not the wire name' }, 'x')).toEqual({});
  expect(sample.toJson({}, 'x')).toEqual({});
});

it('is not misled by names that every object has', () => {
  const parsed = sample.parse(JSON.parse('{"__proto__": {"flag": true}, "constructor": 1}'), 'x');
  expect(parsed.flag).toBeUndefined();
  expect(Object.getPrototypeOf(parsed)).toBe(Object.prototype);
});

describe('refuses', () => {
  it.each([
    ['x.some_count', { some_count: 0 }],
    ['x.some_count', { some_count: 11 }],
    ['x.some_count', { some_count: 1.5 }],
    ['x.some_count', { some_count: '3' }],
    ['x.some_count', { some_count: null }],
    ['x.flag', { flag: 1 }],
    ['x.page_size', { page_size: 4097 }],
    ['x.page_size', { page_size: 1 }],
    ['x.page_size', { page_size: -4096 }],
    ['x.page_size', { page_size: 2 ** 53 }],
    ['x.inner', { inner: [] }],
    ['x.inner', { inner: null }],
    ['x.inner.any_number', { inner: { any_number: -1 } }],
    ['x.inner.any_number', { inner: { any_number: 2 ** 53 } }],
    ['x', []],
    ['x', 'text'],
  ])('%s of %j', (field, json) => {
    expect(refusal(() => sample.parse(json, 'x')).context).toMatchObject({ field });
  });

  it('to write what it would refuse to read', () => {
    expect(refusal(() => sample.toJson({ someCount: 11 }, 'x')).context).toMatchObject({
      field: 'x.some_count',
    });
  });
});

it('says what a value may be', () => {
  const shapes = [integer('', 1, 10), integer('', 0), powerOfTwo('', 2), boolean(''), sample];
  expect(shapes.map(({ shape }) => shapeName(shape))).toEqual([
    'integer from 1 to 10',
    'integer from 0 to 2^53 - 1',
    'power of two from 2 to 2^52',
    'boolean',
    'object',
  ]);
});
