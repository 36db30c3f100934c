import { describe, expect, it } from 'vitest';
import { layout, u32, u64 } from '../../src/stream/layout.ts';

const Sample = layout({ first: u32('the first'), second: u64('the second') });

describe('layout', () => {
  it('packs the fields in the order of the declaration', () => {
    expect([Sample.size, Sample.at]).toEqual([12, { first: 0, second: 4 }]);
    expect(Sample.fields.map(({ name, offset, field }) => [name, offset, field.doc])).toEqual([
      ['first', 0, 'the first'],
      ['second', 4, 'the second'],
    ]);
  });

  it('is little-endian on every host', () => {
    const bytes = new Uint8Array(12);
    const view = new DataView(bytes.buffer);
    Sample.write(view, { first: 0x01020304, second: 0x05_0607_0809_0a0b });
    expect([...bytes]).toEqual([4, 3, 2, 1, 0x0b, 0x0a, 9, 8, 7, 6, 5, 0]);
    expect(Sample.read(view)).toEqual({ first: 0x01020304, second: 0x05_0607_0809_0a0b });
  });

  it.each([2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])(
    'reads %d, which no number holds exactly, as Infinity',
    (value) => {
      const view = new DataView(new ArrayBuffer(12));
      view.setBigUint64(4, value, true);
      expect(Sample.read(view).second).toBe(Number.POSITIVE_INFINITY);
    },
  );

  it('reads 2^53 - 1 exactly', () => {
    const view = new DataView(new ArrayBuffer(12));
    view.setBigUint64(4, 2n ** 53n - 1n, true);
    expect(Sample.read(view).second).toBe(Number.MAX_SAFE_INTEGER);
  });
});
