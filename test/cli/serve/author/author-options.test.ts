import { describe, expect, it } from 'vitest';
import { addAuthorOption } from '../../../../src/cli/serve/author/author-options.ts';

describe("an author's options", () => {
  it('are gathered by name', () => {
    expect(addAuthorOption('b=2', addAuthorOption('a=1'))).toEqual({ a: '1', b: '2' });
  });

  it.each([
    ['period=', { period: '' }],
    ['url=a=b', { url: 'a=b' }],
    ['two=a\nb', { two: 'a\nb' }],
  ])('%j have whatever stands behind the first =', (text, options) => {
    expect(addAuthorOption(text)).toEqual(options);
  });

  it('can not reach the prototype', () => {
    const options = addAuthorOption('__proto__=x');
    expect(Object.keys(options)).toEqual(['__proto__']);
    expect(Object.getPrototypeOf(options)).toBe(Object.prototype);
  });

  it.each(['', 'period', '=5', '5=a', 'a b=c'])('%j are none', (text) => {
    expect(() => addAuthorOption(text)).toThrow('name=value');
  });

  it('are given once', () => {
    expect(() => addAuthorOption('a=2', { a: '1' })).toThrow('a has a value already');
  });
});
