import type { MigrationReport, PhaseReport, ReceiverReport } from '../../engine/index.ts';
import { stateName } from '../../states/index.ts';
import { counted, formatBytes, formatMs } from '../options/quantities.ts';
import { outColors as colors } from './colors.ts';
import { table } from './terminal.ts';

const ENDED: Readonly<Record<NonNullable<MigrationReport['convergence']>, string>> = {
  small: 'little enough was left',
  stalled: 'the rest got no smaller',
  iterations: 'no more rounds were allowed',
};

/** A finished migration in lines for people. */
export function summaryOf(report: MigrationReport): string[] {
  const { source, destination, convergence, iterations } = report;
  const how =
    convergence === null
      ? 'no pre-copy'
      : `${counted(iterations, 'round')} of pre-copy: ${ENDED[convergence]}`;
  const many = report.timeline.source.some(({ device }) => device > 0);
  const [runs, has] = many ? ['devices run', 'have'] : ['device runs', 'has'];
  return [
    `The ${runs} at ${colors.bold(destination)}; ${source} ${has} stopped.`,
    '',
    ...phaseTable(report).map((line) => `  ${line}`),
    '',
    `  ${how}`,
    `  downtime ${colors.bold(formatMs(report.downtimeMs))}`,
  ];
}

/** A comparison that found nothing against the migration, in lines for people. */
export function dryRunLines({ source, destination, notes }: MigrationReport): string[] {
  const found = `${source} can be moved to ${destination}; nothing was changed.`;
  return [found, ...notes.map((note) => `  note: ${note}`)];
}

/** What a receiver has got, in lines for people. */
export function receptionLines(names: readonly string[], report: ReceiverReport): string[] {
  const devices = names.map((name, i) => `  ${colors.bold(name)} is in ${stateName(report.states[i] ?? 0)}`);
  return [`Received ${formatBytes(report.bytes)} in ${formatMs(report.totalMs)}:`, ...devices];
}

/** Phases, times, bytes and rates as an aligned table. */
export function phaseTable({ phases, bytes, totalMs, rates }: MigrationReport): string[] {
  const total = ['total', formatMs(totalMs), formatBytes(bytes.total), `${formatBytes(rates.total)}/s`];
  return table([['phase', 'time', 'state', 'rate'], ...phases.map(phaseRow), total]);
}

function phaseRow({ phase, durationMs, bytes }: PhaseReport): string[] {
  if (bytes === 0) return [phase, formatMs(durationMs), '', ''];
  const rate = durationMs > 0 ? `${formatBytes(Math.round((bytes / durationMs) * 1000))}/s` : '';
  return [phase, formatMs(durationMs), formatBytes(bytes), rate];
}
