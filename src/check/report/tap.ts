import type { Report, Result } from '../result.ts';
import { evidence } from './evidence.ts';

/** The report as TAP version 14. What is not applicable or inconclusive is skipped, with the reason. */
export function renderTap({ results }: Report): string {
  return ['TAP version 14', `1..${results.length}`, ...results.flatMap(testPoint), ''].join('\n');
}

function testPoint(result: Result, index: number): string[] {
  const { rule, outcome, reason } = result;
  const ok = outcome === 'broken' ? 'not ok' : 'ok';
  const skipped = outcome === 'inconclusive' ? `inconclusive: ${reason}` : reason;
  const directive = reason === null ? '' : ` # SKIP ${oneLine(skipped ?? '')}`;
  const line = `${ok} ${index + 1} - ${escaped(`${rule.id}: ${rule.title}`)}${directive}`;
  if (outcome !== 'broken') return [line];
  return [line, '  ---', ...diagnostics(result).map((each) => `  ${each}`), '  ...'];
}

/** YAML, of which every JSON string is one. */
function diagnostics(result: Result): string[] {
  return [
    `severity: ${result.rule.severity}`,
    `duration_ms: ${Math.round(result.ms)}`,
    'evidence:',
    ...evidence(result).map((line) => `  - ${JSON.stringify(line)}`),
  ];
}

/** In a description, # begins a directive and \ escapes. */
function escaped(text: string): string {
  return oneLine(text).replace(/[\\#]/g, '\\$&');
}

function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ');
}
