import { expect, it } from 'vitest';
import { flags } from '../../src/protocol/index.ts';

const Sample = flags({ B: 2, A: 1, TOP: 0x8000_0000 }, { B: 'second', A: 'first', TOP: 'last' });

it('has its bits as properties, a mask and a sorted table', () => {
  expect(Sample.A | Sample.B).toBe(3);
  expect(Sample.mask).toBe(0x8000_0003);
  expect(Sample.bits).toEqual([
    { name: 'A', value: 1, doc: 'first' },
    { name: 'B', value: 2, doc: 'second' },
    { name: 'TOP', value: 0x8000_0000, doc: 'last' },
  ]);
});

it.each([
  [0, '0', 0n],
  [3, 'A|B', 0n],
  [0x8000_0000, 'TOP', 0n],
  [0x8000_0005, 'A|TOP|0x4', 4n],
  [0x1_0000_0000n, '0x100000000', 0x1_0000_0000n],
])('prints %s as %s and finds its unknown bits', (value, text, unknown) => {
  expect(Sample.print(value)).toBe(text);
  expect(Sample.unknown(value)).toBe(unknown);
});
