import type { Result } from '../result.ts';

/** What a machine-readable report says of a broken rule in plain text: a line per fact. */
export function evidence({ rule, finding }: Result): readonly string[] {
  if (finding === null) return [];
  return [
    `found: ${finding.what}`,
    `expected: ${finding.expected}`,
    `why: ${rule.why}`,
    `source: ${rule.clause.source}: ${rule.clause.where}`,
    ...finding.exchange.map(
      ({ kind, channel, text, hex }) => `${kind} ${channel}: ${text}${hex === '' ? '' : ` [${hex}]`}`,
    ),
    ...finding.log
      .trimEnd()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => `stderr: ${line}`),
  ];
}
