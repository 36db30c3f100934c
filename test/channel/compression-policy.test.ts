import { describe, expect, it } from 'vitest';
import { CompressionPolicy } from '../../src/channel/compression-policy.ts';

const MiB = 1024 * 1024;
/** 100 MB/s, that is 100,000 bytes per millisecond. */
const link = { congested: true, rate: 100_000 };
/** What four threads do together: 400 MB/s, to a quarter of the size. */
const good = { raw: MiB, compressed: MiB / 4, ms: (MiB / 400_000) * 4, parallel: 4 };

/** How many of `frames` are compressed when each comes out as `result`. */
function compressed(
  policy: CompressionPolicy,
  frames: number,
  result: typeof good,
  condition = link,
): number {
  let count = 0;
  for (let i = 0; i < frames; i += 1) {
    if (!policy.wants(MiB, condition)) continue;
    count += 1;
    policy.measured(result);
  }
  return count;
}

describe('auto', () => {
  it('compresses everything while it makes the stream faster', () => {
    const policy = new CompressionPolicy('auto');
    expect(compressed(policy, 1000, good)).toBeGreaterThan(990);
  });

  it.each([
    ['nothing shrinks', { ...good, compressed: MiB * 0.95 }, link],
    ['it takes longer than sending', { ...good, ms: good.ms * 10 }, link],
    ['the connection is faster', good, { congested: true, rate: 2_000_000 }],
    ['nothing is known of the connection', good, { congested: true, rate: null }],
  ])('hardly ever tries while %s', (_, result, condition) => {
    const policy = new CompressionPolicy('auto');
    const tried = Array.from({ length: 2 }, () => compressed(policy, 5000, result, condition as typeof link));
    expect(tried[0]).toBeGreaterThan(5);
    expect(tried[0]).toBeLessThan(20);
    expect(tried[1]).toBeLessThan(7);
  });

  it('begins as soon as it pays', () => {
    const policy = new CompressionPolicy('auto');
    compressed(policy, 5000, { ...good, compressed: MiB });
    expect(compressed(policy, 10_000, good)).toBeGreaterThan(5000);
  });

  it('leaves a connection alone that is waiting for more', () => {
    const policy = new CompressionPolicy('auto');
    expect(compressed(policy, 100, good, { congested: false, rate: 100_000 })).toBe(0);
  });
});

it.each([
  ['on', 100],
  ['off', 0],
] as const)('%s does as it says, whatever comes out', (mode, expected) => {
  const policy = new CompressionPolicy(mode);
  expect(compressed(policy, 100, { ...good, compressed: MiB }, { congested: false, rate: 1 })).toBe(expected);
});

it.each(['on', 'auto'] as const)('leaves small frames as they are (%s)', (mode) => {
  expect(new CompressionPolicy(mode).wants(100, link)).toBe(false);
});
