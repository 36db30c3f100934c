import type { MigrationLimits, Timeline } from '../engine/index.ts';
import { nameOf } from './charts/rows.ts';
import { html, type Markup } from './markup.ts';
import { counted, formatBytes, formatMs, grouped } from './quantities.ts';

type Row = readonly (string | number)[];

/** More rows help nobody; whoever needs all has --json. */
const MAX_ROWS = 500;

/** Phases, times, bytes and rates. */
export function phaseTable({ phases, totalMs }: Timeline): Markup {
  const bytes = phases.reduce((sum, phase) => sum + phase.bytes, 0);
  const rows = phases.map((phase) => [
    ...[phase.phase, formatMs(phase.startMs), formatMs(phase.durationMs)],
    ...(phase.bytes === 0 ? ['', ''] : [formatBytes(phase.bytes), rateOf(phase.bytes, phase.durationMs)]),
  ]);
  const total = ['total', '', formatMs(totalMs), formatBytes(bytes), ''];
  return table(['phase', 'begins at', 'takes', 'moved', 'rate'], rows, total);
}

/** The rounds of pre-copy. */
export function roundTable({ rounds }: Timeline): Markup | null {
  if (rounds.length === 0) return null;
  const rows = rounds.map(({ before, bytes, ms, dry }, i) => [
    ...[i + 1, before === null ? 'unknown' : formatBytes(before), formatBytes(bytes), formatMs(ms)],
    ...[rateOf(bytes, ms), dry ? 'all that was there' : 'a part'],
  ]);
  return folded(
    counted(rounds.length, 'round of pre-copy', 'rounds of pre-copy'),
    table(['round', 'left before', 'moved', 'takes', 'rate', 'has read'], rows),
  );
}

/** Where each device was, and when. */
export function changeTable({ source, destination, devices }: Timeline): Markup | null {
  const rows = [
    ...source.map((change) => ({ ...change, end: 'source', name: devices.source?.[change.device] })),
    ...destination.map((change) => ({
      ...change,
      end: 'destination',
      name: devices.destination?.[change.device],
    })),
  ]
    .sort((a, b) => a.atMs - b.atMs)
    .map(({ atMs, end, device, name, state }) => [
      formatMs(atMs),
      end,
      name ?? String(device),
      nameOf(state),
    ]);
  return foldedTexts('change of state', 'changes of state', ['at', 'side', 'device', 'state'], rows);
}

/** What was decided and said. */
export function milestoneTable({ milestones, side }: Timeline): Markup | null {
  const rows = milestones.map((milestone) => {
    const at = formatMs(milestone.atMs);
    switch (milestone.type) {
      case 'decision':
        return [at, milestone.end, 'wrote into its journal', milestone.decision];
      case 'reconnected':
        return [at, milestone.end, 'has found the other side again', ''];
      default:
        return [at, side, milestone.direction === 'sent' ? 'said' : 'heard', milestone.kind];
    }
  });
  return foldedTexts('decision or message', 'decisions and messages', ['at', 'side', 'what', ''], rows);
}

/** What limits it had. */
export function limitTable(limits: MigrationLimits): Markup {
  const { downtimeMs, bytesPerSecond, maxIterations, stallIterations, allowUnknownSize, whenNotConverging } =
    limits;
  const rows = [
    ['downtime', formatMs(downtimeMs)],
    ['bandwidth', bytesPerSecond === null ? 'as fast as it goes' : `${formatBytes(bytesPerSecond)}/s`],
    ['rounds of pre-copy', `${grouped(maxIterations)}, ${grouped(stallIterations)} without progress`],
    ['when they are not enough', whenNotConverging === 'fail' ? 'give up' : 'switch all the same'],
    [
      'devices that can not tell their size',
      allowUnknownSize ? 'take as long as they take' : 'only within the downtime',
    ],
  ];
  return folded('limits', texts(['limit', ''], rows));
}

function foldedTexts(one: string, many: string, head: Row, rows: readonly Row[]): Markup | null {
  if (rows.length === 0) return null;
  const shown = rows.slice(0, MAX_ROWS);
  const more =
    rows.length > shown.length
      ? html`<p class="hint">The first ${grouped(MAX_ROWS)}; --json has all.</p>`
      : null;
  return folded(counted(rows.length, one, many), html`${more}${texts(head, shown)}`);
}

function folded(title: string, content: Markup): Markup {
  return html`<details><summary>${title}</summary><div class="scroll">${content}</div></details>`;
}

function texts(head: Row, rows: readonly Row[]): Markup {
  return html`<table class="texts"><thead>${cells('th', head)}</thead><tbody>${rows.map((row) => cells('td', row))}</tbody></table>`;
}

function table(head: Row, rows: readonly Row[], total: Row | null = null): Markup {
  const last =
    total === null ? null : html`<tr class="total">${total.map((cell) => html`<td>${cell}</td>`)}</tr>`;
  return html`<table><thead>${cells('th', head)}</thead><tbody>${rows.map((row) => cells('td', row))}${last}</tbody></table>`;
}

function cells(kind: 'th' | 'td', row: Row): Markup {
  return kind === 'th'
    ? html`<tr>${row.map((cell) => html`<th>${cell}</th>`)}</tr>`
    : html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`;
}

function rateOf(bytes: number, ms: number): string {
  return ms > 0 ? `${formatBytes(Math.round((bytes / ms) * 1000))}/s` : '';
}
