import { type Report, summarize } from '../result.ts';

/** The report as one JSON object: `kind`, `subject`, `about`, `summary`, `results`. */
export function renderJson(report: Report): string {
  const { kind, subject, about, results } = report;
  const rounded = results.map((result) => ({ ...result, ms: Math.round(result.ms) }));
  return JSON.stringify({ kind, subject, about, summary: summarize(report), results: rounded }, null, 2);
}
