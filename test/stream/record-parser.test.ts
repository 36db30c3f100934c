import { describe, expect, it } from 'vitest';
import { type ParsedRecord, RecordParser } from '../../src/stream/record-parser.ts';
import { forge, totals } from './forge.ts';

function collect(stream: Buffer, size: number) {
  const begun: ParsedRecord[] = [];
  const events: string[] = [];
  const parser = new RecordParser({
    begin: (record) => void begun.push(record),
    data: (bytes) => void events.push(Buffer.from(bytes).toString()),
    end: (record) => void events.push(`end ${record.index}`),
  });
  for (let at = 0; at < stream.length; at += size) parser.write(stream.subarray(at, at + size));
  return { begun, events, parser };
}

describe('RecordParser', () => {
  const stream = forge([
    { type: 1, data: Buffer.from('abc') },
    { type: 3, block: 2, offset: 4096n, length: 8192n },
    { type: 5, data: totals(1, 2) },
  ]);

  it.each([1, 5, 1000])('hands over records and their data, in pieces of %d', (size) => {
    const { begun, events, parser } = collect(stream, size);
    expect(begun).toEqual([
      { at: 16, index: 0, type: 1, block: 0, offset: 0, length: 3 },
      { at: 55, index: 1, type: 3, block: 2, offset: 4096, length: 8192 },
      { at: 91, index: 2, type: 5, block: 0, offset: 0, length: 16 },
    ]);
    expect(events.slice(0, events.indexOf('end 0')).join('')).toBe('abc');
    expect(parser.offset).toBe(stream.length);
  });

  it('says in words where it is', () => {
    const places = [0, 16, 50, 55, 87].map((end) => collect(stream.subarray(0, end), 1000).parser.place);
    expect(places).toEqual([
      'the preamble',
      'the header of record 1',
      'record 1 (HEADER)',
      'the header of record 2',
      'record 2 (ZERO)',
    ]);
  });
});
