import type { Finding } from './finding.ts';

/** One thing that was seen, whether or not anything is wrong with it. */
export interface Seen {
  readonly what: string;
  readonly is: string;
}

/** Something that was not looked at. */
export interface NotLooked {
  readonly what: string;
  readonly why: string;
}

/** What a target turned out to be. */
export type TargetKind = 'socket' | 'pci' | 'mdev' | 'machine';

/** Everything that {@link diagnose} has to say. */
export interface Diagnosis {
  readonly kind: TargetKind;
  /** What was named: a path, an address, a UUID; null for the machine. */
  readonly target: string | null;
  readonly seen: readonly Seen[];
  readonly notLooked: readonly NotLooked[];
  /** From certain to suspected. */
  readonly findings: readonly Finding[];
  /** Nothing certain or likely was found that keeps it from being migrated. */
  readonly migratable: boolean;
}
