import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { deviations } from '../../src/protocol/deviations.ts';
import { renderProtocolDocs } from '../../src/protocol/docs.ts';
import { features, messages } from '../../src/protocol/index.ts';

const rendered = renderProtocolDocs();

it('is what docs/protocol.md holds (otherwise run: npm run build && node scripts/protocol-docs.js)', () => {
  expect(readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')).toBe(rendered);
});

it('has a section for every message and every feature', () => {
  for (const { name } of [...messages, ...Object.values(features)])
    expect(rendered).toContain(`\n### ${name} (`);
});

it('shows every field, flag and rule of a message', () => {
  for (const line of [
    '| 24 | 8 | size | u64 | bytes |',
    '- `flags` 0x8 FILE_IO: access by pread and pwrite on the descriptor',
    '- any other bit of `flags`: EINVAL',
    '- `address` must not pass 2^64 together with size: EOVERFLOW (kernel, vfio_iommu_type1.c: EOVERFLOW)',
    '- `num_ranges` must be at most 256: E2BIG (kernel, vfio_main.c, LOG_MAX_RANGES: E2BIG)',
    '| 16 | count * 48 | sub_regions | array | the sub-regions, unless argsz was too small for them; 40 bytes each are also accepted |',
    'Also accepted: 12 bytes, DMA access (until QEMU 10.2).',
    '| 40 | size | data | bytes | one bit per page, lowest address in the lowest bit |',
    '| migration.pgsize | power of two from 1 to 2^52 | page size of dirty bitmaps, bytes |',
  ]) {
    expect(rendered.split('\n')).toContain(line);
  }
});

it('has the table of deviations', () => {
  for (const { about } of deviations) expect(rendered).toContain(`\n| ${about.replaceAll('|', '\\|')} |`);
});
