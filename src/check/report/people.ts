import type { Shown } from '../exchange.ts';
import { bySeverity, type Outcome, type Report, type Result, summarize } from '../result.ts';
import { SEVERITIES } from '../rule.ts';

/** How text is made to stand out; plain functions of text. */
export interface Palette {
  readonly bad: (text: string) => string;
  readonly good: (text: string) => string;
  readonly doubtful: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly strong: (text: string) => string;
}

const same = (text: string): string => text;

/** No colours. */
export const PLAIN: Palette = { bad: same, good: same, doubtful: same, dim: same, strong: same };

const MARKS: Readonly<Record<Outcome, readonly [mark: string, style: keyof Palette]>> = {
  passed: ['ok', 'good'],
  broken: ['BROKEN', 'bad'],
  'not applicable': ['n/a', 'dim'],
  inconclusive: ['?', 'doubtful'],
};

/** The line of one result, as it is shown while rules are tried. */
export function peopleLine({ rule, outcome, reason }: Result, palette: Palette = PLAIN): string {
  const [mark, style] = MARKS[outcome];
  const why = reason === null ? '' : palette.dim(` (${printable(reason)})`);
  return `${palette[style](mark.padEnd(6))} ${rule.id.padEnd(36)} ${rule.title}${why}`;
}

/** What people read at the end: each broken rule with its evidence, worst first, and the count. */
export function renderPeople(report: Report, palette: Palette = PLAIN): string {
  const broken = bySeverity(report.results.filter(({ outcome }) => outcome === 'broken'));
  const undecided = report.results.filter(({ outcome }) => outcome === 'inconclusive');
  return [
    palette.strong(`${report.kind} ${printable(report.subject)}`),
    ...report.about.map((line) => `  ${printable(line)}`),
    '',
    ...broken.flatMap((result) => [...brokenLines(result, palette), '']),
    ...undecided.map((result) => peopleLine(result, palette)),
    ...(undecided.length === 0 ? [] : ['']),
    summaryLine(report, palette),
  ].join('\n');
}

/** The count in one line. */
export function summaryLine(report: Report, palette: Palette = PLAIN): string {
  const { outcomes, broken } = summarize(report);
  const kinds = SEVERITIES.filter((severity) => broken[severity] > 0)
    .map((severity) => `${broken[severity]} ${severity}`)
    .join(', ');
  const worst = outcomes.broken === 0 ? 'good' : 'bad';
  return [
    palette.good(`${outcomes.passed} passed`),
    palette[worst](`${outcomes.broken} broken${kinds === '' ? '' : ` (${kinds})`}`),
    `${outcomes['not applicable']} not applicable`,
    `${outcomes.inconclusive} inconclusive`,
  ].join(', ');
}

function brokenLines({ rule, finding }: Result, palette: Palette): string[] {
  const { clause } = rule;
  return [
    `${palette.bad(`BROKEN ${rule.id}`)} [${rule.severity}] ${palette.strong(printable(rule.title))}`,
    `  found:    ${printable(finding?.what ?? '')}`,
    `  expected: ${printable(finding?.expected ?? '')}`,
    `  why:      ${rule.why}`,
    `  source:   ${clause.source}: ${clause.where}`,
    ...(finding?.exchange ?? []).flatMap((one) => exchangeLines(one, palette)),
    ...logLines(finding?.log ?? '', palette),
  ];
}

const ARROWS = { sent: '->', received: '<-', event: '--' } as const;

function exchangeLines({ kind, channel, text, hex, bytes }: Shown, palette: Palette): string[] {
  const rest = hex.length < 2 * bytes ? '...' : '';
  return [
    `  ${ARROWS[kind]} ${channel}: ${printable(text)}`,
    ...(bytes === 0 ? [] : [palette.dim(`     ${spaced(hex)}${rest} (${bytes} bytes)`)]),
  ];
}

function logLines(log: string, palette: Palette): string[] {
  const lines = log
    .trimEnd()
    .split('\n')
    .filter((line) => line !== '');
  return lines.map((line) => palette.dim(`  stderr | ${printable(line)}`));
}

/** Bytes in groups of four, the header's four fields first. */
function spaced(hex: string): string {
  return (hex.match(/.{1,8}/g) ?? []).join(' ');
}

/** What came from elsewhere may not steer the terminal. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '\u{fffd}');
}
