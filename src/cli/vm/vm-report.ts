import { MigrationError, type MigrationEvent, type MigrationReport } from '../../engine/index.ts';
import type { Lap, VmSource, VmTarget } from '../../vm/index.ts';
import { counted, formatMs } from '../options/quantities.ts';
import { outColors as colors } from '../output/colors.ts';
import { phaseTable } from '../output/summary.ts';

/** What a VM's migration tells besides. */
export interface VmFigures {
  /**
   * From the moment the VM was seen to stand still until it ran at the destination, in milliseconds; with another host, until
   * that was heard from there.
   */
  readonly blackoutMs: number | null;
  /** How long the VM stood still by the clocks of both QEMUs, in milliseconds; null with another host. */
  readonly standstillMs: number | null;
  /** From the moment the VM was seen to stand still until QEMU was told to go on, in milliseconds. */
  readonly preSwitchoverMs: number | null;
  /** Pages that devices had written and that QEMU was told of. */
  readonly pages: number;
  /** What was done meanwhile, on this host. */
  readonly steps: readonly Lap[];
}

/** Takes the time at which the destination is heard to run. */
export class BlackoutClock {
  #heardAt: number | null = null;

  note(event: MigrationEvent): void {
    const heard = event.type === 'message' && event.end === 'source' && event.direction === 'received';
    if (heard && event.kind === 'RUNNING') this.#heardAt ??= performance.now();
  }

  /** `target` is null when it is on another host. */
  figures({ report }: VmSource, target: VmTarget | null): VmFigures {
    const { stoppedAt, continuedAt, stoodStillAt, pages, laps } = report;
    const there = target?.report ?? { runsAt: this.#heardAt, resumedAt: null, laps: [] };
    return {
      blackoutMs: between(stoppedAt, there.runsAt),
      standstillMs: between(stoodStillAt, there.resumedAt),
      preSwitchoverMs: between(stoppedAt, continuedAt),
      pages,
      steps: [...laps, ...there.laps],
    };
  }
}

function between(from: number | null, to: number | null): number | null {
  return from === null || to === null ? null : to - from;
}

/** A finished migration in lines for people. */
export function vmSummary(
  report: MigrationReport,
  { blackoutMs, pages, steps }: VmFigures,
  devices: number,
): string[] {
  const blackout = blackoutMs === null ? 'unknown' : formatMs(blackoutMs);
  return [
    `The VM and ${counted(devices, 'device')} run at ${colors.bold(report.destination)}; the source has stopped.`,
    '',
    ...phaseTable(report).map((line) => `  ${line}`),
    '',
    `  ${counted(report.iterations, 'round')} of pre-copy; ${counted(pages, 'page')} written by devices`,
    `  blackout ${colors.bold(blackout)}`,
    ...steps.map(({ name, ms }) => `    ${name} ${formatMs(ms)}`),
    ...report.notes.map((note) => `  note: ${note}`),
  ];
}

/** A VM is looked after by its monitor, not by the commands for devices. */
export function withVmAdvice(error: unknown): unknown {
  if (!(error instanceof MigrationError) || !error.nextSteps.some((step) => VM_STEP.test(step))) return error;
  const { code, reason, owner, phase, sourceStates, destinationStates, outcome } = error;
  const nextSteps = error.nextSteps.map((step) =>
    step.replace(VM_STEP, (_, path: string) => `look at the VM by its monitor ${path} (query-status)`),
  );
  const aftermath = { owner, phase, sourceStates, destinationStates, outcome };
  return new MigrationError(code, reason, { ...aftermath, nextSteps: [...new Set(nextSteps)] });
}

const VM_STEP = /ferry (?:inspect|state) qmp:(\S+)(?: --\S+(?: [A-Z_]+)?)*/g;
