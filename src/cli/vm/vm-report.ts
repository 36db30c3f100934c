import { MigrationError, type MigrationEvent, type MigrationReport } from '../../engine/index.ts';
import type { VmSource } from '../../vm/index.ts';
import { counted, formatMs } from '../options/quantities.ts';
import { outColors as colors } from '../output/colors.ts';
import { phaseTable } from '../output/summary.ts';

/** What a VM's migration tells besides. */
export interface VmFigures {
  /** From the moment the VM was seen to stand still until the destination was heard to run, in milliseconds. */
  readonly blackoutMs: number | null;
  /** From the same moment until QEMU was told to go on, in milliseconds. */
  readonly preSwitchoverMs: number | null;
  /** Pages that devices had written and that QEMU was told of. */
  readonly pages: number;
}

/** Takes the time at which the destination is heard to run. */
export class BlackoutClock {
  #heardAt: number | null = null;

  note(event: MigrationEvent): void {
    const heard = event.type === 'message' && event.end === 'source' && event.direction === 'received';
    if (heard && event.kind === 'RUNNING') this.#heardAt ??= performance.now();
  }

  figures({ report }: VmSource): VmFigures {
    const { stoppedAt, continuedAt, pages } = report;
    const since = (at: number | null): number | null =>
      at === null || stoppedAt === null ? null : at - stoppedAt;
    return { blackoutMs: since(this.#heardAt), preSwitchoverMs: since(continuedAt), pages };
  }
}

/** A finished migration in lines for people. */
export function vmSummary(
  report: MigrationReport,
  { blackoutMs, pages }: VmFigures,
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
