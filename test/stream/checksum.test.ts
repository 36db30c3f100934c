import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { RunningChecksum } from '../../src/stream/checksum.ts';

/** The header of a record of a type, with its own checksum as the format has it, and the checksum of its data. */
function record(type: number, data: string): { header: Buffer; dataChecksum: number } {
  const header = Buffer.alloc(32);
  header.writeUInt32LE(type, 0);
  header.writeUInt32LE(crc32(header.subarray(0, 28)), 28);
  return { header, dataChecksum: crc32(data) };
}

/** The running checksum after these records. */
function linkAfter(start: number, records: readonly ReturnType<typeof record>[]): number {
  const running = new RunningChecksum(start);
  for (const { header, dataChecksum } of records) running.add(header, dataChecksum);
  return running.value;
}

describe('the running checksum', () => {
  const [a, b, c] = [record(2, 'one'), record(2, 'two'), record(3, 'one')];

  it('depends on the data, the header, the order and the number of the records', () => {
    const sequences = [[], [a], [b], [c], [a, b], [b, a], [a, a], [a, b, c]];
    expect(new Set(sequences.map((records) => linkAfter(7, records))).size).toBe(sequences.length);
  });

  it('depends on where it starts', () => {
    expect(linkAfter(1, [a])).not.toBe(linkAfter(2, [a]));
  });
});
