import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { type RuleFacts, SERVER_RULES } from '../../src/check/index.ts';

/** JavaScript, so without types of its own. */
const { fillRules }: { fillRules(text: string, rules: readonly RuleFacts[]): string } = await import(
  new URL('../../scripts/check-docs.js', import.meta.url).href
);
const page = readFileSync(new URL('../../docs/check.md', import.meta.url), 'utf8');
const ids = SERVER_RULES.map(({ id }) => id);

it('docs/check.md has the rules as they are (otherwise run: npm run docs)', () => {
  expect(page).toBe(fillRules(page, SERVER_RULES));
});

it('docs/check.md names no rule that is not there', () => {
  const areas = new Set(SERVER_RULES.map(({ area }) => area));
  const named = [...page.matchAll(/`([a-z-]+)\.([a-z0-9-]+)`/g)].filter(([, area = '']) => areas.has(area));
  expect(named.map(([, area, name]) => `${area}.${name}`).filter((id) => !ids.includes(id))).toEqual([]);
});

it('every rule says what, why and from where, in whole words', () => {
  for (const { id, title, why, clause, area } of SERVER_RULES) {
    expect(id, id).toMatch(/^[a-z-]+\.[a-z0-9-]+$/);
    expect(id.startsWith(`${area}.`)).toBe(true);
    expect(title, id).toMatch(/^[A-Z0-9].*[^.]$/);
    expect(why, id).toMatch(/^[a-zA-Z].*[^.]$/);
    expect(clause.where.length, id).toBeGreaterThan(3);
  }
});
