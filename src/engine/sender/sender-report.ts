import type { MigrationLimits } from '../limits.ts';
import type { SenderPlan } from '../plan.ts';
import type { Recorder } from '../recorder.ts';
import { bytesPerSecond, type MigrationReport, type PhaseReport } from '../report.ts';
import { type Timeline, timelineOf, withDestination } from '../timeline.ts';
import type { SenderOutcome } from './sender.ts';

/** What else a sender has to tell. */
export interface SenderRecords {
  readonly limits: MigrationLimits;
  /** Where the destination's devices are, as far as known. */
  readonly destinationName: string;
  /** When the destination said OPENED, in the source's time. */
  readonly openedAtMs: number;
}

/** Puts together what a finished sender reports. Its last phase has been ended. */
export function senderReport(
  plan: SenderPlan,
  outcome: SenderOutcome,
  recorder: Recorder,
  { limits, destinationName, openedAtMs }: SenderRecords,
): MigrationReport {
  const { phases } = recorder;
  const [pre, stop] = [sumOf(phases, 'pre-copy'), sumOf(phases, 'stop-copy')];
  const bytes = {
    total: phases.reduce((sum, each) => sum + each.bytes, 0),
    preCopy: pre.bytes,
    stopCopy: stop.bytes,
  };
  return {
    owner: plan.dryRun ? 'source' : 'destination',
    dryRun: plan.dryRun,
    group: plan.group,
    source: plan.names.join(', '),
    destination: destinationName,
    phases,
    bytes,
    iterations: outcome.iterations,
    convergence: outcome.convergence,
    downtimeMs: downtimeOf(phases),
    totalMs: phases.reduce((sum, { durationMs }) => sum + durationMs, 0),
    rates: {
      total: bytesPerSecond(bytes.total, pre.durationMs + stop.durationMs),
      preCopy: bytesPerSecond(pre.bytes, pre.durationMs),
      stopCopy: bytesPerSecond(stop.bytes, stop.durationMs),
    },
    notes: outcome.notes,
    limits,
    timeline: placed(timelineOf('source', recorder, plan), outcome, openedAtMs),
  };
}

/** From the last time that the guest was asked to stop until the destination ran. What is cleaned up comes after. */
function downtimeOf(phases: readonly PhaseReport[]): number {
  const from = phases.findLastIndex(({ phase }) => phase === 'stop');
  const to = phases.findLastIndex(({ phase }) => phase === 'run');
  if (from === -1 || to === -1) return 0;
  return phases.slice(from, to + 1).reduce((sum, { durationMs }) => sum + durationMs, 0);
}

/** The destination's times in those of the source: both know when OPENED was said, the source a little later. */
function placed(timeline: Timeline, { destination }: SenderOutcome, openedAtMs: number): Timeline {
  if (destination === null) return timeline;
  return withDestination(timeline, destination.changes, openedAtMs - destination.openedAtMs);
}

function sumOf(phases: readonly PhaseReport[], name: string): { bytes: number; durationMs: number } {
  const found = phases.filter(({ phase }) => phase === name);
  return {
    bytes: found.reduce((sum, { bytes }) => sum + bytes, 0),
    durationMs: found.reduce((sum, { durationMs }) => sum + durationMs, 0),
  };
}
