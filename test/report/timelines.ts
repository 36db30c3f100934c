import type { Timeline } from '../../src/engine/index.ts';
import { MigrationState } from '../../src/states/index.ts';

const { RUNNING, STOP, STOP_COPY, PRE_COPY, PRE_COPY_P2P, RESUMING, RUNNING_P2P } = MigrationState;

/** A second of pre-copy and a blackout of 40 ms, of so many devices. */
export function timelineWith(changes: Partial<Timeline> = {}, devices = 1): Timeline {
  const numbers = Array.from({ length: devices }, (_, device) => device);
  const row = (...states: readonly (readonly [number, number])[]) =>
    numbers.flatMap((device) => states.map(([atMs, state]) => ({ device, state, atMs })));
  return {
    ...{ group: 'ab'.repeat(16), side: 'source', startedAt: '2026-01-02T03:04:05.000Z', totalMs: 1060 },
    devices: {
      source: numbers.map((i) => `/run/a${i}.sock`),
      destination: numbers.map((i) => `/run/b${i}.sock`),
    },
    source: row([5, RUNNING], [10, PRE_COPY], [1012, PRE_COPY_P2P], [1020, STOP_COPY], [1055, STOP]),
    destination: row([8, RUNNING], [12, RESUMING], [1035, STOP], [1045, RUNNING_P2P], [1050, RUNNING]),
    phases: [
      { phase: 'check', startMs: 0, durationMs: 10, bytes: 0 },
      { phase: 'pre-copy', startMs: 10, durationMs: 1000, bytes: 96 * 1024 ** 2 },
      { phase: 'stop', startMs: 1010, durationMs: 10, bytes: 0 },
      { phase: 'stop-copy', startMs: 1020, durationMs: 10, bytes: 1024 ** 2 },
      { phase: 'verify', startMs: 1030, durationMs: 10, bytes: 0 },
      { phase: 'run', startMs: 1040, durationMs: 10, bytes: 0 },
      { phase: 'clean-up', startMs: 1050, durationMs: 10, bytes: 0 },
    ],
    milestones: [{ type: 'decision', end: 'source', decision: 'COMMIT', atMs: 1040 }],
    samples: [
      { atMs: 10, bytes: 0, rate: 0, remaining: null, estimatedDowntimeMs: null },
      { atMs: 1010, bytes: 96 * 1024 ** 2, rate: 0, remaining: 0, estimatedDowntimeMs: 40 },
      { atMs: 1030, bytes: 97 * 1024 ** 2, rate: 0, remaining: 0, estimatedDowntimeMs: 40 },
    ],
    rounds: [{ before: 64 * 1024 ** 2, bytes: 64 * 1024 ** 2, dry: true, ms: 600 }],
    assessments: [
      {
        atMs: 10,
        round: 0,
        left: 64 * 1024 ** 2,
        fits: null,
        estimatedDowntimeMs: null,
        downtimeLimitMs: 300,
      },
      {
        atMs: 610,
        round: 1,
        left: 1024 ** 2,
        fits: 30 * 1024 ** 2,
        estimatedDowntimeMs: 42,
        downtimeLimitMs: 300,
      },
    ],
    ...changes,
  };
}
