import type { DeviceClient } from '../../client/index.ts';
import type { EndInspection } from '../../engine/index.ts';
import type { Ecam } from '../machine/ecam.ts';
import type { VmPerformer } from '../performer.ts';
import type { Lap } from '../stopwatch.ts';

/** What a VM that is moved away consists of. */
export interface VmSourceOptions {
  /** How commands and messages call it. */
  readonly name: string;
  readonly performer: VmPerformer;
  /** Its devices: what QEMU calls them, and their servers. */
  readonly ids: readonly string[];
  readonly clients: readonly DeviceClient[];
  /** Where QEMU can connect to, and write. */
  readonly folder: string;
  readonly identity: EndInspection['identity'];
  /** Where configuration space lies in memory; null for one that is only to be brought back. */
  readonly ecam: Ecam | null;
  /** How long each stage may take, in milliseconds. */
  readonly timeoutMs: number;
}

/** What was measured and done, for the report. */
export interface VmSourceReport {
  /** When the VM stood still (performance.now()); null: it has not. */
  readonly stoppedAt: number | null;
  /** When QEMU was told to go on with it. */
  readonly continuedAt: number | null;
  /** When QEMU says that it stopped the VM, in milliseconds since 1970 by the clock of its host. */
  readonly stoodStillAt: number | null;
  /** Pages that were touched. */
  readonly pages: number;
  /** What was done meanwhile, in order. */
  readonly laps: readonly Lap[];
}
