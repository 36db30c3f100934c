import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { renderChannelDocs } from '../../src/channel/docs.ts';
import { CHANNEL_ERRORS, messages } from '../../src/channel/index.ts';

const rendered = renderChannelDocs();

it('is what docs/channel.md holds (otherwise run: npm run build && node scripts/channel-docs.js)', () => {
  expect(readFileSync(new URL('../../docs/channel.md', import.meta.url), 'utf8')).toBe(rendered);
});

it('has every message, every bound of one, and every error', () => {
  for (const [name, { number }] of Object.entries(messages))
    expect(rendered).toContain(`\n### ${name} (${number})\n`);
  for (const code of Object.keys(CHANNEL_ERRORS)) expect(rendered).toContain(`| \`${code}\` |`);
  for (const line of [
    '| 32 | 4 | headerChecksum | u32 | CRC-32 of the 32 bytes before, continued from the seed |',
    '| 2 | rest | body | bytes | the bytes, at most 1048576 bytes |',
    '| +10 | 4 | checksum | u32 | CRC-32 of them |',
    '- `actions` 0x1 INTERRUPTS: arming MSI, MSI-X and INTx: the interrupt controller is not restored yet',
  ]) {
    expect(rendered.split('\n')).toContain(line);
  }
});
