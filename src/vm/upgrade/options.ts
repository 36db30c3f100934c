import type { Journals } from '../../journal/index.ts';
import type { VmDevice } from '../reach.ts';
import type { Lap } from '../stopwatch.ts';
import type { UpgradeChannels } from './plan.ts';

/** A VM that is to pass to another QEMU of this host, which waits for it. */
export interface UpgradeOptions {
  /** The monitor of the QEMU that has the VM. */
  readonly monitorPath: string;
  /** Where the other one waits. */
  readonly channels: UpgradeChannels;
  /** The monitor that the other one makes once it has the memory. */
  readonly newMonitorPath: string;
  /** Likewise its gdb stub, in a directory that nobody else can enter. */
  readonly newGdbPath: string;
  /** All vfio-user devices of the VM. */
  readonly devices: readonly VmDevice[];
  /** Where decisions are kept, for {@link recoverUpgrade}; otherwise they end with the process. */
  readonly journals?: Journals;
  /** Stop when everything has been looked at. */
  readonly dryRun?: boolean;
  readonly scratch?: string;
  /** How long each answer, and the other QEMU's start, may take, in milliseconds. Default 5000. */
  readonly timeoutMs?: number;
}

/** How long each answer may take when nothing is said, in milliseconds. */
export const UPGRADE_TIMEOUT_MS = 5_000;

/** What an upgrade did. */
export interface UpgradeReport {
  /** What QEMU calls the devices. */
  readonly devices: readonly string[];
  /** It went on from an attempt that had failed after the devices had been taken. */
  readonly again: boolean;
  /** From `stop` until the VM ran in the other QEMU, in milliseconds; null in a dry run. */
  readonly blackoutMs: number | null;
  /** The same by the clocks of both QEMUs; null when it stood still before. */
  readonly standstillMs: number | null;
  readonly steps: readonly Lap[];
  readonly notes: readonly string[];
}
