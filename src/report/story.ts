import {
  type Convergence,
  MigrationError,
  type MigrationLimits,
  type MigrationReport,
  type Owner,
  type Phase,
  type ReceiverReport,
  type SaveReport,
  type Timeline,
} from '../engine/index.ts';
import { errnoName, FerryError } from '../errors/index.ts';
import { counted, formatBytes, formatMs } from './quantities.ts';

/** How it ended, which decides how the page greets its reader. */
export type Ending = 'done' | 'failed' | 'in doubt';

/** One number of the summary. */
export interface Figure {
  readonly label: string;
  readonly value: string;
  /** What puts it into proportion. */
  readonly hint: string | null;
}

/** Why it failed, and what to do. */
export interface FailureStory {
  readonly code: string;
  readonly errno: string;
  /** What failed first, in sentences. */
  readonly reasons: readonly string[];
  /** Who has the devices now; null when nothing had begun. */
  readonly owner: Owner | null;
  readonly phase: Phase | null;
  /** What to do next, one thing each. */
  readonly next: readonly string[];
}

/** What a report tells. All text may be from elsewhere. */
export interface Story {
  readonly ending: Ending;
  readonly title: string;
  /** One sentence. */
  readonly lead: string;
  readonly figures: readonly Figure[];
  readonly notes: readonly string[];
  readonly failure: FailureStory | null;
  readonly limits: MigrationLimits | null;
  /** Null when it failed before there was anything to tell. */
  readonly timeline: Timeline | null;
}

const SWITCHED: Readonly<Record<Convergence, string>> = {
  small: 'until little enough was left',
  stalled: 'until the rest got no smaller',
  iterations: 'until no more were allowed',
};

/** The story of a migration that has succeeded, or of a comparison that found nothing against it. */
export function storyOfMigration(report: MigrationReport): Story {
  const { source, destination, dryRun, notes, limits, timeline } = report;
  return {
    ending: 'done',
    title: dryRun ? 'Migration compared' : 'Migration done',
    lead: dryRun
      ? `${source} can be moved to ${destination}. Nothing was changed.`
      : movedLine(timeline, source, destination),
    figures: dryRun ? [] : figuresOf(report),
    ...{ notes, limits, timeline, failure: null },
  };
}

function movedLine({ devices }: Timeline, source: string, destination: string): string {
  const many = (devices.source?.length ?? 1) > 1;
  return `${source} ${many ? 'were' : 'was'} moved to ${destination}, and ${many ? 'run' : 'runs'} there.`;
}

function figuresOf({ downtimeMs, limits, totalMs, bytes, rates, iterations, convergence }: MigrationReport) {
  const rounds = counted(iterations, 'round of pre-copy', 'rounds of pre-copy');
  const how = convergence === null ? 'no pre-copy' : `${rounds}, ${SWITCHED[convergence]}`;
  return [
    figure('Downtime', formatMs(downtimeMs), `${formatMs(limits.downtimeMs)} allowed`),
    figure('Total time', formatMs(totalMs), how),
    figure('Moved', formatBytes(bytes.total), `${formatBytes(bytes.stopCopy)} of it in the blackout`),
    figure('Rate', `${formatBytes(rates.total)}/s`, 'while state was moved'),
  ];
}

/** The story of a reception, or of a restoration, that has succeeded; `what` says which. */
export function storyOfReception(
  { received, bytes, totalMs, timeline }: ReceiverReport,
  what: 'Reception' | 'Restoration',
): Story {
  const names = (timeline.devices.destination ?? []).join(', ');
  return {
    ending: 'done',
    title: `${what} ${received ? 'done' : 'not wanted'}`,
    lead: received
      ? `${names} ${(timeline.devices.destination ?? []).length === 1 ? 'has' : 'have'} got the state.`
      : `The source compared ${names} with what it has, and left. Nothing was changed.`,
    figures: [figure('Received', formatBytes(bytes), null), figure('Total time', formatMs(totalMs), null)],
    ...{ notes: [], limits: null, timeline, failure: null },
  };
}

/** The story of devices that have been saved. */
export function storyOfSaving({
  file,
  fileBytes,
  bytes,
  leave,
  downtimeMs,
  totalMs,
  timeline,
}: SaveReport): Story {
  const names = (timeline.devices.source ?? []).join(', ');
  const after = leave === 'running' ? 'run on' : 'have stopped for good: the file has the state from now on';
  return {
    ...{ ending: 'done', title: 'Saving done' },
    lead: `${names} saved to ${file}. The devices ${after}.`,
    figures: [
      figure('Downtime', leave === 'running' ? formatMs(downtimeMs) : 'for good', null),
      figure('Total time', formatMs(totalMs), null),
      figure('File', formatBytes(fileBytes), `for ${formatBytes(bytes)}`),
    ],
    ...{ notes: [], limits: null, timeline, failure: null },
  };
}

/** The story of a failure; `what` failed. `advice` is what to do when the error itself does not say. */
export function storyOfFailure(error: unknown, what: string, advice: readonly string[] = []): Story {
  const ours = error instanceof MigrationError ? error : null;
  const isDoubtful = ours !== null && ours.owner === 'in doubt' && !isRefusal(ours);
  const timeline = ours?.timeline ?? null;
  return {
    ending: isDoubtful ? 'in doubt' : 'failed',
    title: isDoubtful ? `${what} in doubt` : titleOf(ours, what),
    lead: ours === null ? messageOf(error) : `${ours.outcome}.`,
    figures: timeline === null ? [] : failureFigures(timeline),
    notes: [],
    failure: ours === null ? plainFailure(error, advice) : failureOf(ours),
    ...{ limits: null, timeline },
  };
}

/** Nothing was begun, so nothing is said about who has the devices. */
function isRefusal({ code }: MigrationError): boolean {
  return code === 'ERR_MIGRATION_REFUSED';
}

function titleOf(error: MigrationError | null, what: string): string {
  if (error !== null && isRefusal(error)) return `${what} refused`;
  return error?.code === 'ERR_MIGRATION_CANCELLED' ? `${what} cancelled` : `${what} failed`;
}

function failureOf(error: MigrationError): FailureStory {
  const { code, errno, reason, phase, nextSteps: next } = error;
  const owner = isRefusal(error) ? null : error.owner;
  return { code, errno: errnoName(errno), reasons: reason.message.split('; '), owner, phase, next };
}

function plainFailure(error: unknown, next: readonly string[]): FailureStory {
  const [code, errno] =
    error instanceof FerryError ? [error.code, errnoName(error.errno)] : ['ERR_UNFORESEEN', 'EIO'];
  return { ...{ code, errno, next, reasons: [messageOf(error)] }, owner: null, phase: null };
}

function failureFigures({ side, totalMs, phases, rounds }: Timeline): readonly Figure[] {
  const bytes = phases.reduce((sum, phase) => sum + phase.bytes, 0);
  if (bytes === 0) return [];
  // The destination is not told of rounds.
  const whole = counted(rounds.length, 'whole round of pre-copy', 'whole rounds of pre-copy');
  return [
    figure('Total time', formatMs(totalMs), side === 'source' ? whole : null),
    figure('Moved', formatBytes(bytes), null),
  ];
}

function figure(label: string, value: string, hint: string | null): Figure {
  return { label, value, hint };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
