import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { errnoName } from '../../src/errors/index.ts';
import {
  EndData,
  MAX_BLOCKS,
  MAX_FIELD_BYTES,
  MAX_FIELDS,
  MAX_HEADER_DATA,
  MAX_PARTS,
  Preamble,
  RecordHeader,
  RecordType,
  recordName,
} from '../../src/stream/format.ts';
import { PAGE_SIZE, STREAM_ERRORS, StateReader } from '../../src/stream/index.ts';
import type { Layout } from '../../src/stream/layout.ts';
import { feed, ModelImage, part, save } from './model-image.ts';

const DOCS = readFileSync(new URL('../../docs/state-format.md', import.meta.url), 'utf8');

function rows(layout: Layout<string>): readonly string[] {
  return layout.fields.map(
    ({ name, offset, field }) => `| ${offset} | ${field.size} | ${name} | ${field.type} | ${field.doc} |`,
  );
}

describe('docs/state-format.md', () => {
  it.each([
    ['preamble', Preamble],
    ['record header', RecordHeader],
    ['data of the END', EndData],
  ])('has the layout of the %s', (_, layout) => {
    expect(DOCS).toContain(rows(layout).join('\n'));
  });

  it('has every record', () => {
    for (const [name, type] of Object.entries(RecordType)) expect(DOCS).toContain(`| ${type} | ${name} |`);
  });

  it('has every error with its errno', () => {
    const table = Object.entries(STREAM_ERRORS).map(
      ([code, { errno, doc }]) => `| \`${code}\` | ${errnoName(errno)} | ${doc} |`,
    );
    expect(DOCS).toContain(table.join('\n'));
  });

  it.each([
    ['parts', MAX_PARTS],
    ['fields', MAX_FIELDS],
    ['blocks', MAX_BLOCKS],
    ['bytes of all fields together', MAX_FIELD_BYTES],
    ['bytes of the data of the HEADER', MAX_HEADER_DATA],
  ])('has the limit of %s', (what, limit) => {
    expect(DOCS).toContain(`| ${what} | ${limit} |`);
  });

  it('shows a state as it is written, to the byte, and it can be loaded', () => {
    const make = () =>
      new ModelImage(
        [
          part({
            fields: [{ name: 'ticks', type: 'u32', count: 1, since: 1 }],
            blocks: [{ name: 'ram', size: PAGE_SIZE, since: 1 }],
          }),
        ],
        { kind: 'counter' },
      );
    const source = make();
    source.values.set('ticks', Uint8Array.of(42, 0, 0, 0));
    const lines = [...DOCS.matchAll(/^[0-9a-f]{4} {2}((?:[0-9a-f]{2} )+)/gm)].map(([, bytes = '']) => bytes);
    const shown = Buffer.from(lines.join('').replaceAll(' ', ''), 'hex');
    expect(shown.toString('hex')).toBe(save(source).toString('hex'));
    const target = make();
    feed(new StateReader(target), shown);
    expect(target.content).toEqual(source.content);
  });
});

describe('recordName', () => {
  it('names what is known and numbers what is not', () => {
    expect([recordName(2), recordName(9)]).toEqual(['BLOCK', 'type 9']);
  });
});
