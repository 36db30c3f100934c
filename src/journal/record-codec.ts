import { crc32 } from 'node:zlib';
import { fromHalves, toHalves } from '../protocol/index.ts';
import { JournalError } from './journal-error.ts';
import type { JournalKey } from './journal-file.ts';
import { KIND_NUMBERS, MAGIC, MAX_BODY, RecordHead, ROLE_NUMBERS, VERSION } from './layout.ts';
import type { JournalEntry, JournalRecord, JournalRole, RecordKind } from './record.ts';
import {
  decodeAbort,
  decodeBegin,
  decodeReady,
  decodeRecovered,
  encodeBody,
  fromHex,
  toHex,
} from './record-body.ts';

/** What the bytes at some place of a journal are. */
export type Decoded =
  | { readonly is: 'record'; readonly entry: JournalEntry; readonly size: number; readonly key: JournalKey }
  /** The beginning of a record, or zeros, which some file systems leave after a crash. */
  | { readonly is: 'torn' }
  | { readonly is: 'of another version'; readonly version: number }
  | { readonly is: 'damaged'; readonly why: string };

/** One record as it is written. @throws JournalError ERR_JOURNAL_RECORD for what does not fit */
export function encodeRecord(
  { sequence, atMs, record }: JournalEntry,
  { group, role }: JournalKey,
): Uint8Array {
  const body = encodeBody(record);
  const { low: groupLow, high: groupHigh } = toHalves(fromHex(group, 'the group'));
  if (record.kind === 'BEGIN' && (record.group !== group || record.role !== role)) {
    throw new JournalError('ERR_JOURNAL_RECORD', 'BEGIN is of another group or role than its journal');
  }
  const bytes = new Uint8Array(RecordHead.size + body.length);
  const view = new DataView(bytes.buffer);
  RecordHead.write(view, 0, {
    ...{ magic: MAGIC, version: VERSION, kind: KIND_NUMBERS[record.kind], role: ROLE_NUMBERS[role] },
    ...{ length: body.length, sequence, epoch: record.epoch, groupLow, groupHigh, at: BigInt(atMs) },
    ...{ bodyChecksum: crc32(body), headChecksum: 0 },
  });
  const { headChecksum } = RecordHead.at;
  view.setUint32(headChecksum, crc32(bytes.subarray(0, headChecksum)), true);
  bytes.set(body, RecordHead.size);
  return bytes;
}

/** The record with which `bytes`, which are not empty, begin. */
export function decodeRecord(bytes: Uint8Array): Decoded {
  if (bytes.length < RecordHead.size) return { is: 'torn' };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const head = RecordHead.read(view, 0);
  if (head.headChecksum !== crc32(bytes.subarray(0, RecordHead.at.headChecksum))) {
    return bytes.every((byte) => byte === 0) ? { is: 'torn' } : damaged('the head of a record is damaged');
  }
  if (head.magic !== MAGIC) return damaged('there is no record');
  if (head.version !== VERSION) return { is: 'of another version', version: head.version };
  if (head.length > MAX_BODY) return damaged('a record is too long');
  const size = RecordHead.size + head.length;
  if (bytes.length < size) return { is: 'torn' };
  const body = bytes.subarray(RecordHead.size, size);
  if (head.bodyChecksum !== crc32(body)) return damaged('the body of a record is damaged');
  const role = roleOf(head.role);
  const key = role === null ? null : { group: toHex(fromHalves(head.groupLow, head.groupHigh)), role };
  const record = key === null ? null : recordOf(head.kind, head.epoch, key, body);
  if (key === null || record === null) return damaged('a record makes no sense');
  return { is: 'record', entry: { sequence: head.sequence, atMs: Number(head.at), record }, size, key };
}

function recordOf(kind: number, epoch: bigint, key: JournalKey, body: Uint8Array): JournalRecord | null {
  const name = kindOf(kind);
  switch (name) {
    case null:
      return null;
    case 'BEGIN': {
      const begin = decodeBegin(body);
      return begin && { kind: name, epoch, ...key, ...begin };
    }
    case 'READY': {
      const ready = decodeReady(body);
      return ready && { kind: name, epoch, ...ready };
    }
    case 'ABORT': {
      const abort = decodeAbort(body);
      return abort && { kind: name, epoch, ...abort };
    }
    case 'RECOVERED': {
      const recovered = decodeRecovered(body);
      return recovered && { kind: name, epoch, ...recovered };
    }
    default:
      return body.length === 0 ? { kind: name, epoch } : null;
  }
}

const kinds: readonly RecordKind[] = ['BEGIN', 'READY', 'COMMIT', 'RUN', 'DONE', 'ABORT', 'RECOVERED'];

function kindOf(number: number): RecordKind | null {
  return kinds.find((kind) => KIND_NUMBERS[kind] === number) ?? null;
}

function roleOf(number: number): JournalRole | null {
  if (number === ROLE_NUMBERS.sender) return 'sender';
  return number === ROLE_NUMBERS.receiver ? 'receiver' : null;
}

function damaged(why: string): Decoded {
  return { is: 'damaged', why };
}
