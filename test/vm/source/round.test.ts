import { describe, expect, it } from 'vitest';
import { Round } from '../../../src/vm/source/round.ts';

const outgoing = (passes: number, status = 'active') => ({
  status,
  passes,
  remaining: 0,
  reason: null,
});

function round() {
  const time = { now: 0 };
  return { time, round: new Round(() => time.now) };
}

describe('a round of pre-copy', () => {
  it('is over when QEMU begins another pass', () => {
    const { round: one, time } = round();
    expect(one.isOver(outgoing(1))).toBe(false);
    time.now = 60;
    expect(one.isOver(outgoing(1))).toBe(false);
    expect(one.isOver(outgoing(2))).toBe(true);
    expect(one.isOver(outgoing(2))).toBe(false);
  });

  it('is over when QEMU has paused, or sends nothing any more', () => {
    const { round: one, time } = round();
    expect(one.isOver(outgoing(1, 'pre-switchover'))).toBe(true);
    time.now = 999;
    expect(one.isOver(outgoing(1))).toBe(false);
    time.now = 1000;
    expect(one.isOver(outgoing(1))).toBe(true);
  });

  it('is not over while QEMU prepares itself, however long, and begins when QEMU does', () => {
    const { round: one, time } = round();
    expect(one.isOver(outgoing(0, 'setup'))).toBe(false);
    time.now = 5000;
    expect(one.isOver(outgoing(0, 'setup'))).toBe(false);
    one.heard();
    expect(one.isOver(outgoing(1))).toBe(false);
    expect(one.isOver(outgoing(2))).toBe(true);
  });

  it('asks no more often than it has to', () => {
    const { round: one, time } = round();
    expect(one.isDue).toBe(true);
    one.isOver(outgoing(1));
    expect(one.isDue).toBe(false);
    time.now = 50;
    expect(one.isDue).toBe(true);
  });
});
