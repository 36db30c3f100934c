import type { MigrationLimits } from './limits.ts';
import type { Phase } from './phase.ts';
import type { Convergence } from './sender/convergence.ts';
import type { Timeline } from './timeline.ts';

/** One phase of a migration that has ended. */
export interface PhaseReport {
  readonly phase: Phase;
  /** When it began, in milliseconds since the migration did. */
  readonly startMs: number;
  readonly durationMs: number;
  /** Bytes of state moved in it. */
  readonly bytes: number;
}

/** A moment of the way, for charts. */
export interface ProgressSample {
  /** Milliseconds since the migration began. */
  readonly atMs: number;
  /** Bytes moved until then. */
  readonly bytes: number;
  /** Bytes per second lately. */
  readonly rate: number;
  /** Bytes left as far as known. */
  readonly remaining: number | null;
  /** How long the blackout would have been, in milliseconds, as far as known. */
  readonly estimatedDowntimeMs: number | null;
}

/** What a finished migration reports. */
export interface MigrationReport {
  /** Who has the devices now; a migration that ends otherwise throws MigrationError. A dry run leaves them. */
  readonly owner: 'destination' | 'source';
  /** Nothing was moved: both sides were compared, and it would work. */
  readonly dryRun: boolean;
  /** Names the migration: 32 hex digits. */
  readonly group: string;
  readonly source: string;
  readonly destination: string;
  readonly phases: readonly PhaseReport[];
  /** Bytes of state. */
  readonly bytes: { readonly total: number; readonly preCopy: number; readonly stopCopy: number };
  /** Rounds of PRE_COPY; 0 without it. */
  readonly iterations: number;
  /** Why PRE_COPY ended; null without it. */
  readonly convergence: Convergence | null;
  /** From the moment the guest is asked to stop until the destination was known to run, in milliseconds. */
  readonly downtimeMs: number;
  readonly totalMs: number;
  /** Bytes per second while data was moved. */
  readonly rates: { readonly total: number; readonly preCopy: number; readonly stopCopy: number };
  /** What is worth knowing, in sentences. */
  readonly notes: readonly string[];
  readonly limits: MigrationLimits;
  /** How it went, in the source's time. */
  readonly timeline: Timeline;
}

/** Bytes per second; 0 when no time passed. */
export function bytesPerSecond(bytes: number, ms: number): number {
  return ms > 0 ? Math.round((bytes / ms) * 1000) : 0;
}
