import { PAGE_SIZE } from './device-image.ts';
import { layout, u32, u64 } from './layout.ts';

/**
 * The first eight bytes, `89 46 45 52 52 59 0d 0a` (`\x89FERRY\r\n`) as two words: not text, and changed by whatever
 * takes it for text, as in PNG.
 */
export const MAGIC = { magic: 0x52454689, newline: 0x0a0d5952 } as const;

/** The version of the format that is written, and the only one that is read. */
export const FORMAT_VERSION = 1;

/** The start of a stream. Its form is the same in all versions of the format. */
export const Preamble = layout({
  magic: u32('89 46 45 52'),
  newline: u32('52 59 0d 0a'),
  version: u32('version of the format'),
  checksum: u32('CRC-32 of the 12 bytes before'),
});

/** What the records of a stream are. */
export const RecordType = {
  /** Identity and schema of the device, once, first: UTF-8 JSON. */
  HEADER: 1,
  /** Bytes of a memory block; later ones replace earlier ones. */
  BLOCK: 2,
  /** A range of a memory block that is all zero; has no data. */
  ZERO: 3,
  /** The values of all fields, once, after all blocks. */
  FIELDS: 4,
  /** The totals, once, last: {@link EndData}. */
  END: 5,
} as const;

/** A value of {@link RecordType}. */
export type RecordType = (typeof RecordType)[keyof typeof RecordType];

/** The name of a record type, or its number. */
export function recordName(type: number): string {
  return Object.entries(RecordType).find(([, value]) => value === type)?.[0] ?? `type ${type}`;
}

/** What stands before the data of every record. A CRC-32 of the data follows the data. */
export const RecordHeader = layout({
  type: u32('HEADER 1, BLOCK 2, ZERO 3, FIELDS 4, END 5'),
  block: u32('BLOCK, ZERO: number of the block in the order of the HEADER; otherwise 0'),
  offset: u64('BLOCK, ZERO: first byte in the block, a multiple of 4096; otherwise 0'),
  length: u64('bytes of data; ZERO: bytes that are zero. BLOCK, ZERO: a positive multiple of 4096'),
  link: u32('running checksum of all before this record'),
  checksum: u32('CRC-32 of the 28 bytes before'),
});

/** The CRC-32 after the data of every record, in bytes. */
export const TRAILER_SIZE = 4;

/** What a record costs besides its data, in bytes. */
export const RECORD_OVERHEAD = RecordHeader.size + TRAILER_SIZE;

/** The data of the END record. */
export const EndData = layout({
  bytes: u64('bytes of the stream before the END record'),
  records: u64('records before the END record'),
});

/** The most data that a HEADER record may have, in bytes. */
export const MAX_HEADER_DATA = 64 * 1024;

/** Most of a block that the writer puts into one record, in bytes. Readers take any length that fits the block. */
export const MAX_RUN = 256 * PAGE_SIZE;

/** Most parts, fields and blocks of a schema; {@link MAX_HEADER_DATA} is the tighter bound for long names. */
export const MAX_PARTS = 16;
/** See {@link MAX_PARTS}. */
export const MAX_FIELDS = 1024;
/** See {@link MAX_PARTS}. */
export const MAX_BLOCKS = 64;
/** Most bytes that the values of all fields may take together; more belongs into a block. */
export const MAX_FIELD_BYTES = 16 * 1024 * 1024;
