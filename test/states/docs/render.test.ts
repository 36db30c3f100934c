import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { renderStatesDocs } from '../../../src/states/docs/render.ts';
import { FULL_ARCS, RULE_SETS, stateName } from '../../../src/states/index.ts';

const rendered = renderStatesDocs();

it('is what docs/states.md holds (otherwise run: npm run docs)', () => {
  expect(readFileSync(new URL('../../../docs/states.md', import.meta.url), 'utf8')).toBe(rendered);
});

it.each(RULE_SETS.map(({ id }) => id))('has a section for %s', (id) => {
  expect(rendered).toContain(`\n### \`${id}\`: `);
});

it('says what a device must do on each arc', () => {
  for (const [from, to, duty] of FULL_ARCS) {
    expect(rendered).toContain(`\n| ${stateName(from)} to ${stateName(to)} | ${duty} |`);
  }
});

it('shows the rows that the sources give', () => {
  for (const line of [
    '| 110 | ERROR | no | a reset is needed |',
    '| **011 PRE_COPY** | quiesce, freeze | nothing | quiesce, freeze, serialize | · | quiesce, freeze, reset |',
    '| 100 to 011 | 100 → 000 → 010 → 011 | 100 → 000 → 001 → 011 | serialize |',
    '| RUNNING to RESUMING | yes | no | yes | yes | yes |',
    '| STOP_COPY to PRE_COPY | ? | no | yes | no | no |',
    '| RUNNING_P2P | 5 | 7 | 111 |',
    '| STOP to STOP_COPY | Open a saving session; the internal state stays frozen while it is read. | opens | serialize |',
  ]) {
    expect(rendered.split('\n')).toContain(line);
  }
});

it('draws v2 for each set of flags, and what was drawn of v1', () => {
  expect(rendered.match(/^```mermaid$/gm)).toHaveLength(8);
});
