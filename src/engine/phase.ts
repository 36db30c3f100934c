/**
 * What a migration is doing, in order. Up to `switch` the source owns the devices and everything can be undone; `run`
 * begins with the record that gives them to the destination. `clean-up` is no downtime. `roll-back` follows a failure.
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
  'clean-up',
  'roll-back',
] as const;

/** One of {@link PHASES}. */
export type Phase = (typeof PHASES)[number];
