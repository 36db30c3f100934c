import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FD_KINDS } from '../../src/relay/index.ts';
import {
  At,
  FD_SIZE,
  FdAt,
  FIXED_SIZE,
  LINK_TYPE,
  RecordFlag,
  RecordKind,
  VERSION,
} from '../../src/trace/recording/index.ts';

const text = readFileSync(resolve(import.meta.dirname, '../../docs/trace.md'), 'utf8');
const format = text.slice(text.indexOf('## The format of recordings'));

/** The rows of the tables of the format: offset by name of the field. */
const offsets = new Map(
  [...format.matchAll(/^\| (\d+) \| \d+ \| ([a-z ]+) \| /gm)].map(([, offset, name = '']) => [
    name,
    Number(offset),
  ]),
);

describe('docs/trace.md tells the format of recordings as it is', () => {
  it.each(Object.entries(At))('the field %s', (name, offset) => {
    // Kind is also a field of a descriptor, which comes later and begins with 0.
    if (name === 'KIND') expect(format).toContain(`| ${offset} | 1 | kind | 1 message`);
    else expect(offsets.get(name.toLowerCase().replaceAll('_', ' '))).toBe(offset);
  });

  it('descriptors, kinds, flags and sizes', () => {
    expect([offsets.get('size'), offsets.get('identity')]).toEqual([FdAt.SIZE, FdAt.IDENTITY]);
    expect(format).toContain(FD_KINDS.map((kind, i) => `${i} ${kind}`).join(', '));
    expect(format).toContain(`${FIXED_SIZE} + ${FD_SIZE} * fd count`);
    expect(format).toContain(`link type ${LINK_TYPE} `);
    expect(format).toContain(`| version | ${VERSION} |`);
    const kinds = /\| kind \| (1 message.*) \|$/m.exec(format)?.[1] ?? '';
    expect([...kinds.matchAll(/(?:^|, )(\d) /g)].map(([, kind]) => Number(kind))).toEqual(
      Object.values(RecordKind),
    );
    const flags = /\| flags \| (.*) \|$/m.exec(format)?.[1] ?? '';
    expect([...flags.matchAll(/(?:^|, )(\d) /g)].map(([, flag]) => Number(flag))).toEqual(
      Object.values(RecordFlag),
    );
  });
});
