import { expect, it } from 'vitest';
import { moment, pauseOf } from '../../src/handover/pause.ts';

it('is the time between the last client that was served and the next, and the CPU time of both processes', () => {
  const saving = { stoppedAt: 1_000_000n, savedAt: 2_500_000n, savingCpu: 1_200n };
  const arrived = { at: 3_000_000n, cpu: 50_000n };
  const taken = { at: 5_000_000n, cpu: 51_000n };
  const served = { at: 5_250_000n, cpu: 51_300n };
  expect(pauseOf(saving, arrived, taken, served)).toEqual({
    ...{ totalMs: 4.25, saveMs: 1.5, passMs: 0.5, loadMs: 2, runMs: 0.25 },
    cpuMs: 2.5,
  });
});

it('is measured by a clock that only goes forward', () => {
  const [one, other] = [moment(), moment()];
  expect(other.at).toBeGreaterThanOrEqual(one.at);
  expect(other.cpu).toBeGreaterThanOrEqual(one.cpu);
});
