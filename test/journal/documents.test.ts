import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { type JournalRecord, ownerOf } from '../../src/journal/index.ts';
import { KIND_NUMBERS, RecordHead } from '../../src/journal/layout.ts';
import { ABORT, begin, COMMIT, READY, RUN } from './support.ts';
import { entriesOf } from './verdict-model.ts';

const text = readFileSync(new URL('../../docs/journal.md', import.meta.url), 'utf8');

/** The rows of the table whose header begins with a text. */
function rows(header: string): string[][] {
  const lines = text.split('\n');
  const at = lines.findIndex((line) => line.startsWith(`| ${header} |`));
  const end = lines.findIndex((line, i) => i > at && !line.startsWith('|'));
  return lines.slice(at + 2, end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

it('docs/journal.md names every record, and the size of a head', () => {
  expect(rows('record').map(([name]) => name)).toEqual(Object.keys(KIND_NUMBERS));
  expect(text).toContain(`a head of ${RecordHead.size} bytes`);
});

const journals: Readonly<Record<string, readonly (readonly JournalRecord[] | null)[]>> = {
  'no COMMIT': [[begin('sender')], [begin('sender'), ABORT]],
  COMMIT: [[begin('sender'), COMMIT]],
  "can't be read": [null],
  'anything that a migration leaves': [[begin('receiver'), READY], null],
  'not READY, or ABORT': [[], [begin('receiver')], [begin('receiver'), READY, ABORT]],
  READY: [[begin('receiver'), READY]],
  RUN: [[begin('receiver'), READY, RUN]],
};
const owners = { 'at the source': 'source', 'at the destination': 'destination', 'in doubt': 'in doubt' };

it.each(rows("source's journal"))(
  'source: %s, destination: %s: the device is %s',
  (source, destination, where) => {
    for (const sender of journals[source ?? ''] ?? ['unknown']) {
      for (const receiver of journals[destination ?? ''] ?? ['unknown']) {
        if (typeof sender === 'string' || typeof receiver === 'string') throw new Error('an unknown cell');
        const { owner } = ownerOf({
          sender: sender && entriesOf(sender),
          receiver: receiver && entriesOf(receiver),
        });
        expect(owner).toBe(Object.entries(owners).find(([words]) => words === where)?.[1]);
      }
    }
  },
);
