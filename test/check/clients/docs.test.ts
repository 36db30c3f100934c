import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { BEHAVIOURS, CLIENT_RULES } from '../../../src/check/clients/index.ts';

const page = readFileSync(new URL('../../../docs/check-clients.md', import.meta.url), 'utf8');

it('docs/check-clients.md has every rule for clients, as it is declared', () => {
  const rows = [...page.matchAll(/^\| `([a-z]+\.[a-z-]+)` \| (\w+) \| (.*?): .* \| (\w+): (.*) \|$/gm)];
  const documented = rows.map(([, id, severity, title = '', source, where]) => ({
    id,
    severity,
    title: title.toLowerCase(),
    clause: `${source}: ${where}`,
  }));
  const declared = CLIENT_RULES.map(({ id, severity, title, clause }) => ({
    id,
    severity,
    // A title may have a colon of its own.
    title: (title.split(': ')[0] ?? '').toLowerCase(),
    clause: `${clause.source}: ${clause.where}`,
  }));
  expect(documented).toEqual(declared);
});

it('and counts the behaviours rightly', () => {
  expect(page).toContain(`all ${BEHAVIOURS.length} behaviours`);
});
