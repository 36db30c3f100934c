import { type Report, type Result, summarize } from '../result.ts';
import { areasOf } from '../selection.ts';
import { evidence } from './evidence.ts';

/** The report as JUnit's XML: a suite per area. What is not applicable or inconclusive is skipped, with the reason. */
export function renderJunit(report: Report): string {
  const { results, kind, subject } = report;
  const areas = areasOf(results.map(({ rule }) => rule));
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="${attribute(`ferry check: ${kind} ${subject}`)}" ${counts(results)}>`,
    ...areas.flatMap((area) =>
      suite(
        area,
        results.filter(({ rule }) => rule.area === area),
      ),
    ),
    '</testsuites>',
    '',
  ].join('\n');
}

function suite(area: string, results: readonly Result[]): string[] {
  return [
    `  <testsuite name="${attribute(area)}" ${counts(results)}>`,
    ...results.flatMap((result) => testCase(result).map((line) => `    ${line}`)),
    '  </testsuite>',
  ];
}

function testCase(result: Result): string[] {
  const { rule, outcome, reason } = result;
  const attributes = `classname="${attribute(rule.area)}" name="${attribute(rule.id)}" time="${seconds(result.ms)}"`;
  if (outcome === 'passed') return [`<testcase ${attributes}/>`];
  return [`<testcase ${attributes}>`, `  ${detail(result, reason ?? '')}`, '</testcase>'];
}

function detail(result: Result, reason: string): string {
  const { outcome, rule } = result;
  if (outcome !== 'broken') return `<skipped message="${attribute(`${outcome}: ${reason}`)}"/>`;
  const text = evidence(result).join('\n');
  return `<failure type="${rule.severity}" message="${attribute(rule.title)}">${escaped(text)}</failure>`;
}

function counts(results: readonly Result[]): string {
  const { outcomes } = summarize({ results });
  const skipped = outcomes['not applicable'] + outcomes.inconclusive;
  const time = seconds(results.reduce((sum, { ms }) => sum + ms, 0));
  return `tests="${results.length}" failures="${outcomes.broken}" errors="0" skipped="${skipped}" time="${time}"`;
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}

/** XML 1.0 has no way to write most control characters and surrogates without their half: they become U+FFFD. */
function escaped(text: string): string {
  return text
    .replace(/[^\t\n\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '\uFFFD')
    .replace(/[&<>]/g, (character) => ENTITIES.get(character) ?? character);
}

function attribute(text: string): string {
  return escaped(text)
    .replaceAll('"', '&quot;')
    .replace(/[\t\n]/g, ' ');
}

const ENTITIES = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
]);
