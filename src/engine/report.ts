import type { Convergence } from './convergence.ts';
import type { Phase } from './phase.ts';

/** One phase of a migration that has ended. */
export interface PhaseReport {
  readonly phase: Phase;
  /** When it began, in milliseconds since the migration did. */
  readonly startMs: number;
  readonly durationMs: number;
  /** Bytes of device state moved in it. */
  readonly bytes: number;
}

/** What a finished migration reports. */
export interface MigrationReport {
  /** Who has the device now; a migration that ends otherwise throws MigrationError. */
  readonly owner: 'destination';
  readonly source: string;
  readonly destination: string;
  readonly phases: readonly PhaseReport[];
  /** Bytes of device state. */
  readonly bytes: { readonly total: number; readonly preCopy: number; readonly stopCopy: number };
  /** Rounds of PRE_COPY; 0 without it. */
  readonly iterations: number;
  /** Why PRE_COPY ended; null without it. */
  readonly convergence: Convergence | null;
  /** From the moment the guest is asked to stop until the destination was seen RUNNING, in milliseconds. */
  readonly downtimeMs: number;
  readonly totalMs: number;
  /** Bytes per second while data was moved. */
  readonly rates: { readonly total: number; readonly preCopy: number; readonly stopCopy: number };
}

/** Bytes per second; 0 when no time passed. */
export function bytesPerSecond(bytes: number, ms: number): number {
  return ms > 0 ? Math.round((bytes / ms) * 1000) : 0;
}
