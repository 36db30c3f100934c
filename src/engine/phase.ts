/**
 * What a migration is doing, in order. Up to `switch` the source owns the device and everything can be undone; in
 * `run` the destination has been asked to run. `roll-back` follows a failure.
 */
export const PHASES = [
  'check',
  'prepare',
  'pre-copy',
  'stop',
  'stop-copy',
  'verify',
  'switch',
  'run',
  'roll-back',
] as const;

/** One of {@link PHASES}. */
export type Phase = (typeof PHASES)[number];

/** Whether a migration can be cancelled in this phase: the destination has not been asked to run, nothing failed. */
export function isCancellable(phase: Phase): boolean {
  return phase !== 'run' && phase !== 'roll-back';
}
