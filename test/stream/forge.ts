import { crc32 } from 'node:zlib';

/**
 * Builds streams by hand, from docs/state-format.md and not from the writer: so that the two check each other, and so
 * that tests can write what no writer would.
 */
export interface ForgedRecord {
  readonly type: number;
  readonly block?: number;
  readonly offset?: bigint;
  /** By default the length of the data. */
  readonly length?: bigint;
  readonly data?: Uint8Array;
  /** Put in place of what belongs there. */
  readonly link?: number;
  readonly headerChecksum?: number;
  readonly dataChecksum?: number;
}

export const PREAMBLE = forgePreamble(1);
const NOTHING = new Uint8Array(0);

export function forgePreamble(version: number, mark = '\x89FERRY\r\n'): Buffer {
  const preamble = Buffer.alloc(16);
  preamble.write(mark, 'latin1');
  preamble.writeUInt32LE(version, 8);
  preamble.writeUInt32LE(crc32(preamble.subarray(0, 12)), 12);
  return preamble;
}

/** A stream of these records behind a good preamble. */
export function forge(records: readonly ForgedRecord[]): Buffer {
  const pieces: Uint8Array[] = [PREAMBLE];
  let link = PREAMBLE.readUInt32LE(12);
  for (const record of records) {
    const { data = NOTHING } = record;
    const header = Buffer.alloc(32);
    header.writeUInt32LE(record.type, 0);
    header.writeUInt32LE(record.block ?? 0, 4);
    header.writeBigUInt64LE(record.offset ?? 0n, 8);
    header.writeBigUInt64LE(record.length ?? BigInt(data.length), 16);
    header.writeUInt32LE(record.link ?? link, 24);
    header.writeUInt32LE(record.headerChecksum ?? crc32(header.subarray(0, 28)), 28);
    const trailer = Buffer.alloc(4);
    trailer.writeUInt32LE(record.dataChecksum ?? crc32(data), 0);
    pieces.push(header, data, trailer);
    link = crc32(Buffer.concat([header.subarray(0, 24), trailer]), link);
  }
  return Buffer.concat(pieces);
}

/** The data of an END record. */
export function totals(bytes: number, records: number): Buffer {
  const data = Buffer.alloc(16);
  data.writeBigUInt64LE(BigInt(bytes), 0);
  data.writeBigUInt64LE(BigInt(records), 8);
  return data;
}

/** These records and an END that counts them. */
export function forgeComplete(records: readonly ForgedRecord[]): Buffer {
  return forge([...records, { type: 5, data: totals(forge(records).length, records.length) }]);
}

/** The records of a stream, with their place in it. */
export function cut(
  stream: Buffer,
): readonly (ForgedRecord & { readonly raw: Buffer; readonly at: number })[] {
  const records = [];
  for (let at = 16; at < stream.length; ) {
    const type = stream.readUInt32LE(at);
    const length = stream.readBigUInt64LE(at + 16);
    const end = at + 32 + (type === 3 ? 0 : Number(length));
    records.push({
      at,
      type,
      block: stream.readUInt32LE(at + 4),
      offset: stream.readBigUInt64LE(at + 8),
      length,
      data: stream.subarray(at + 32, end),
      raw: stream.subarray(at, end + 4),
    });
    at = end + 4;
  }
  return records;
}
