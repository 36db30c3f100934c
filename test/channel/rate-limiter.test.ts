import { expect, it } from 'vitest';
import { LinkMeter } from '../../src/channel/link-meter.ts';
import { RateLimiter } from '../../src/channel/rate-limiter.ts';

function limited(rate: number) {
  let now = 1000;
  const limiter = new RateLimiter(() => now);
  limiter.set(rate);
  return {
    limiter,
    pass: (ms: number) => {
      now += ms;
    },
  };
}

it('lets nothing wait without a limit', () => {
  const limiter = new RateLimiter();
  limiter.spend(1e12);
  expect(limiter.wait()).toBe(0);
});

it('keeps to the rate over any time, whatever the sizes', () => {
  const { limiter, pass } = limited(1_000_000);
  let sent = 0;
  let elapsed = 0;
  for (let i = 0; i < 200; i += 1) {
    const wait = limiter.wait();
    pass(wait);
    elapsed += wait;
    const size = 1 + ((i * 7919) % 50_000);
    limiter.spend(size);
    sent += size;
  }
  expect(sent / elapsed).toBeGreaterThan(950);
  expect(sent / elapsed).toBeLessThan(1050);
});

it('does not save up for a burst', () => {
  const { limiter, pass } = limited(1_000_000);
  limiter.wait();
  pass(60_000);
  limiter.wait();
  limiter.spend(30_000);
  expect(limiter.wait()).toBe(20);
});

it('forgets debts when it is changed', () => {
  const { limiter } = limited(1);
  limiter.spend(1_000_000);
  expect(limiter.wait()).toBeGreaterThan(1e8);
  limiter.set(1000);
  expect(limiter.wait()).toBe(0);
});

it('measures how fast a connection is, only while something waits for it', () => {
  const meter = new LinkMeter();
  for (let now = 0; now <= 1000; now += 10) meter.note(now, now * 1000, false);
  expect(meter.rate).toBeNull();
  for (let now = 1000; now <= 1200; now += 10) meter.note(now, 1_000_000 + (now - 1000) * 500, true);
  expect(meter.rate).toBeCloseTo(500, 0);
});
