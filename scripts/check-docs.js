/** Fills the tables of rules in docs/check.md; `npm run build` has to have run. */
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

/** @typedef {{ id: string, area: string, severity: string, title: string, why: string, needs: readonly string[], clause: { source: string, where: string } }} RuleFacts */

/** @param {string} text @returns {string} */
const cell = (text) => text.replaceAll('|', '\\|');

/** @param {RuleFacts} rule @returns {string} */
function row({ id, severity, title, why, needs, clause }) {
  const wants = needs.length === 0 ? '' : ` Needs ${needs.join(', ')}.`;
  return `| \`${id}\` | ${severity} | ${cell(title)}: ${cell(why)}.${wants} | ${clause.source}: ${cell(clause.where)} |`;
}

/** @param {readonly RuleFacts[]} rules @returns {string} */
function tables(rules) {
  const areas = [...new Set(rules.map(({ area }) => area))];
  const table = (/** @type {string} */ area) => [
    `### ${area}`,
    '',
    '| rule | severity | what has to hold, and why | source |',
    '|---|---|---|---|',
    ...rules.filter((rule) => rule.area === area).map(row),
    '',
  ];
  return areas.flatMap(table).join('\n');
}

/**
 * The text with the tables of rules between its marks.
 * @param {string} text
 * @param {readonly RuleFacts[]} rules
 * @returns {string}
 */
export function fillRules(text, rules) {
  const [begin, end] = ['<!-- rules -->\n', '<!-- /rules -->'];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error('docs/check.md has lost the marks of its rules');
  const count = `There are ${rules.length} rules in ${new Set(rules.map(({ area }) => area)).size} areas.`;
  return `${text.slice(0, from + begin.length)}\n${count}\n\n${tables(rules)}\n${text.slice(to)}`;
}

/** Writes the page from the rules that were built. */
export async function writeCheckDocs() {
  const { SERVER_RULES } = await import('../dist/check/index.js');
  const page = new URL('../docs/check.md', import.meta.url);
  writeFileSync(page, fillRules(readFileSync(page, 'utf8'), SERVER_RULES));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await writeCheckDocs();
