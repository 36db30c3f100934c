import { littleEndian } from '../../protocol/index.ts';
import { FD_KINDS, type FdFacts, type FlowEnd } from '../../relay/index.ts';

import { TraceError } from './trace-error.ts';

/** LINKTYPE_USER0 of the pcap link types, which are for private use. */
export const LINK_TYPE = 147;

/** The version of the header below. */
export const VERSION = 1;

/** What a record is about. */
export const RecordKind = { MESSAGE: 1, BYTES: 2, OPENED: 3, ENDED: 4, LOST: 5, REFUSED: 6 } as const;
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind];

/** Bits of a record's flags. */
export const RecordFlag = { LITTLE_ENDIAN: 1, CONTROL: 2, MORE: 4 } as const;

/** Bytes of the header without descriptors, and of each descriptor. */
export const FIXED_SIZE = 24;
export const FD_SIZE = 24;

/** Where the fields of the header lie. All are big-endian, whatever wrote the file. */
export const At = {
  VERSION: 0,
  KIND: 1,
  SENDER: 2,
  FLAGS: 3,
  CONNECTION: 4,
  LENGTH: 8,
  OFFSET: 12,
  FD_COUNT: 16,
  HEADER_LENGTH: 18,
  DETAIL: 20,
} as const;

/** Where the fields of a descriptor lie, from its start. */
export const FdAt = { KIND: 0, SIZE: 8, IDENTITY: 16 } as const;

/** The header that stands before what was on the wire, in each record. docs/trace.md describes it. */
export interface RecordHeader {
  readonly kind: RecordKind;
  readonly fromServer: boolean;
  readonly control: boolean;
  readonly connection: number;
  /** Bytes of the whole message on the wire. */
  readonly length: number;
  /** Where the bytes of this record begin in it. */
  readonly offset: number;
  /** Whether further records continue the message. */
  readonly more: boolean;
  /** OPENED: the client's process; LOST, REFUSED: the errno. */
  readonly detail: number;
  /** What came with the message; in its first record. */
  readonly fds: readonly FdFacts[];
}

/** How long a header is. */
export function recordHeaderSize({ fds }: RecordHeader): number {
  return FIXED_SIZE + fds.length * FD_SIZE;
}

/** Writes a header at `at`. */
export function writeRecordHeader(header: RecordHeader, view: DataView, at: number): void {
  const order = littleEndian ? RecordFlag.LITTLE_ENDIAN : 0;
  view.setUint8(at + At.VERSION, VERSION);
  view.setUint8(at + At.KIND, header.kind);
  view.setUint8(at + At.SENDER, header.fromServer ? 1 : 0);
  const flags = order | (header.control ? RecordFlag.CONTROL : 0) | (header.more ? RecordFlag.MORE : 0);
  view.setUint8(at + At.FLAGS, flags);
  view.setUint32(at + At.CONNECTION, header.connection);
  view.setUint32(at + At.LENGTH, header.length);
  view.setUint32(at + At.OFFSET, header.offset);
  view.setUint16(at + At.FD_COUNT, header.fds.length);
  view.setUint16(at + At.HEADER_LENGTH, recordHeaderSize(header));
  view.setUint32(at + At.DETAIL, header.detail);
  header.fds.forEach((facts, i) => {
    const place = at + FIXED_SIZE + i * FD_SIZE;
    view.setBigUint64(place, 0n);
    view.setUint8(place + FdAt.KIND, FD_KINDS.indexOf(facts.kind));
    view.setBigUint64(place + FdAt.SIZE, facts.size);
    view.setBigUint64(place + FdAt.IDENTITY, facts.identity);
  });
}

/**
 * The header at the start of a record, and how long it is.
 * @throws TraceError ERR_TRACE_FILE
 */
export function decodeRecordHeader(record: Uint8Array): RecordHeader & { readonly size: number } {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  if (record.length < FIXED_SIZE)
    throw damaged(`a record has ${record.length} bytes, its header alone ${FIXED_SIZE}`);
  const version = view.getUint8(At.VERSION);
  if (version !== VERSION) throw damaged(`records have version ${version}, this program reads ${VERSION}`);
  const flags = view.getUint8(At.FLAGS);
  if (((flags & RecordFlag.LITTLE_ENDIAN) !== 0) !== littleEndian) {
    throw damaged('it was recorded on a machine with another byte order');
  }
  const count = view.getUint16(At.FD_COUNT);
  const size = view.getUint16(At.HEADER_LENGTH);
  if (size !== FIXED_SIZE + count * FD_SIZE || size > record.length) {
    throw damaged(`a record's header has ${size} bytes and ${count} descriptors in ${record.length} bytes`);
  }
  return {
    kind: kindOf(view.getUint8(At.KIND)),
    fromServer: view.getUint8(At.SENDER) === 1,
    control: (flags & RecordFlag.CONTROL) !== 0,
    more: (flags & RecordFlag.MORE) !== 0,
    connection: view.getUint32(At.CONNECTION),
    length: view.getUint32(At.LENGTH),
    offset: view.getUint32(At.OFFSET),
    detail: view.getUint32(At.DETAIL),
    fds: Array.from({ length: count }, (_, i) => factsAt(view, FIXED_SIZE + i * FD_SIZE)),
    size,
  };
}

function kindOf(number: number): RecordKind {
  const kind = Object.values(RecordKind).find((one) => one === number);
  if (kind === undefined) throw damaged(`a record is of kind ${number}, which does not exist`);
  return kind;
}

function factsAt(view: DataView, at: number): FdFacts {
  return {
    kind: FD_KINDS[view.getUint8(at + FdAt.KIND)] ?? 'unknown',
    size: view.getBigUint64(at + FdAt.SIZE),
    identity: view.getBigUint64(at + FdAt.IDENTITY),
  };
}

/** The kind of record that tells of an end. */
export function endKind(end: FlowEnd): RecordKind {
  if (end.kind === 'end of stream') return RecordKind.ENDED;
  return end.kind === 'lost' ? RecordKind.LOST : RecordKind.REFUSED;
}

/** The error of a file that can't be what it says. */
export function damaged(what: string, context: { readonly byte?: number } = {}): TraceError {
  return new TraceError('ERR_TRACE_FILE', `this is no recording that can be read: ${what}`, context);
}
