import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { nextLink } from '../../src/stream/checksum.ts';

/** A record of a type, with its own checksums as the format has them. */
function record(type: number, data: string): { header: Buffer; trailer: Buffer } {
  const header = Buffer.alloc(32);
  header.writeUInt32LE(type, 0);
  header.writeUInt32LE(crc32(header.subarray(0, 28)), 28);
  const trailer = Buffer.alloc(4);
  trailer.writeUInt32LE(crc32(data), 0);
  return { header, trailer };
}

describe('the running checksum', () => {
  const [a, b, c] = [record(2, 'one'), record(2, 'two'), record(3, 'one')];
  const linkAfter = (...records: readonly ReturnType<typeof record>[]) =>
    records.reduce((link, { header, trailer }) => nextLink(link, header, trailer), 7);

  it('depends on the data, the header, the order and the number of the records', () => {
    const links = [
      linkAfter(),
      linkAfter(a),
      linkAfter(b),
      linkAfter(c),
      linkAfter(a, b),
      linkAfter(b, a),
      linkAfter(a, a),
      linkAfter(a, b, c),
    ];
    expect(new Set(links).size).toBe(links.length);
  });

  it('depends on where it starts', () => {
    expect(nextLink(1, a.header, a.trailer)).not.toBe(nextLink(2, a.header, a.trailer));
  });
});
