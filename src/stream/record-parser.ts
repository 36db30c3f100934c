import { crc32 } from 'node:zlib';
import { type Crc32, RunningChecksum, zlibCrc32 } from './checksum.ts';
import {
  FORMAT_VERSION,
  MAGIC,
  Preamble,
  RecordHeader,
  RecordType,
  recordName,
  TRAILER_SIZE,
} from './format.ts';
import { StreamError } from './stream-error.ts';

/** Data are checksummed and stored in pieces that stay in the cache in between, in bytes. */
const CACHED = 64 * 1024;

/** The verified header of a record, and its place in the stream. */
export interface ParsedRecord {
  /** Where it begins, in bytes from the start of the stream. */
  readonly at: number;
  /** Records before it. */
  readonly index: number;
  readonly type: number;
  readonly block: number;
  readonly offset: number;
  readonly length: number;
}

/** A record in words. */
export function describeRecord({ type, index }: ParsedRecord): string {
  return `record ${index + 1} (${recordName(type)})`;
}

/** What becomes of the records. Every method may throw, which ends the parsing. */
export interface RecordSink {
  /** A record begins. Its header is as it was written; whether it makes sense is decided here. */
  begin(record: ParsedRecord): void;
  /** The next bytes of its data, not yet verified. Only for the length of the call. */
  data(bytes: Uint8Array): void;
  /** All its data have arrived and are as they were written. */
  end(record: ParsedRecord): void;
}

/** What is expected next. */
type Stage = 'preamble' | 'header' | 'data' | 'trailer' | 'over';

/**
 * Cuts a stream that arrives in pieces of any size into records, and verifies each by its checksums and by its place
 * in the stream. It allocates nothing that depends on what arrives.
 */
export class RecordParser {
  /** Bytes that have arrived. */
  offset = 0;
  readonly #sink: RecordSink;
  readonly #header = new Uint8Array(RecordHeader.size);
  readonly #trailer = new Uint8Array(TRAILER_SIZE);
  #stage: Stage = 'preamble';
  /** Where the fixed-size bytes of the current stage gather. */
  #gather: Uint8Array = new Uint8Array(Preamble.size);
  /** Bytes that the current stage still lacks. */
  #left: number = Preamble.size;
  #record: ParsedRecord | null = null;
  /** Where the current record begins, and how many came before it. */
  #recordAt = 0;
  #records = 0;
  /** Of the data of the current record, as far as they have arrived. */
  #checksum = 0;
  #running = new RunningChecksum(0);
  readonly #dataCrc32: Crc32;

  /** `dataCrc32` is for the bulk. */
  constructor(sink: RecordSink, dataCrc32: Crc32 = zlibCrc32) {
    this.#sink = sink;
    this.#dataCrc32 = dataCrc32;
  }

  /** Where in the stream it is, in words. */
  get place(): string {
    if (this.#record !== null) return describeRecord(this.#record);
    return this.#stage === 'preamble' ? 'the preamble' : `the header of record ${this.#records + 1}`;
  }

  /** The next bytes of the stream. Throws {@link StreamError}, and whatever the sink throws. */
  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      if (this.#stage === 'over') throw this.#overrun(bytes.length - at);
      const count = Math.min(this.#left, bytes.length - at, CACHED);
      this.#take(bytes.subarray(at, at + count));
      at += count;
    }
  }

  #take(piece: Uint8Array): void {
    if (this.#stage === 'data') {
      this.#checksum = this.#dataCrc32(piece, this.#checksum);
      this.#sink.data(piece);
    } else {
      this.#gather.set(piece, this.#gather.length - this.#left);
    }
    this.offset += piece.length;
    this.#left -= piece.length;
    if (this.#left === 0) this.#advance();
  }

  #advance(): void {
    if (this.#stage === 'preamble') {
      this.#acceptPreamble();
      this.#expect('header', this.#header);
    } else if (this.#stage === 'header') {
      this.#acceptHeader();
    } else if (this.#stage === 'data') {
      this.#expect('trailer', this.#trailer);
    } else if (this.#record !== null) {
      this.#acceptTrailer(this.#record);
    }
  }

  #expect(stage: Stage, gather: Uint8Array): void {
    this.#stage = stage;
    this.#gather = gather;
    this.#left = gather.length;
    if (stage === 'header') this.#recordAt = this.offset;
  }

  #acceptPreamble(): void {
    const { magic, newline, version, checksum } = Preamble.read(viewOf(this.#gather));
    if (magic !== MAGIC.magic || newline !== MAGIC.newline) {
      throw new StreamError(
        'ERR_STREAM_MAGIC',
        'this is no device state: the first 8 bytes are not its mark',
        0,
      );
    }
    if (crc32(this.#gather.subarray(0, Preamble.at.checksum)) !== checksum) throw changed('the preamble', 0);
    if (version !== FORMAT_VERSION) {
      throw new StreamError(
        'ERR_STREAM_FORMAT',
        `the state has format ${version} and only ${FORMAT_VERSION} is known here; update the destination`,
        Preamble.at.version,
        { context: { version } },
      );
    }
    this.#running = new RunningChecksum(checksum);
  }

  #acceptHeader(): void {
    const { link, checksum, ...header } = RecordHeader.read(viewOf(this.#header));
    if (crc32(this.#header.subarray(0, RecordHeader.at.checksum)) !== checksum) {
      throw changed(this.place, this.#recordAt);
    }
    const record = { at: this.#recordAt, index: this.#records, ...header };
    if (link !== this.#running.value) throw outOfOrder(record);
    this.#sink.begin(record);
    this.#record = record;
    this.#checksum = 0;
    const length = record.type === RecordType.ZERO ? 0 : record.length;
    this.#expect(length === 0 ? 'trailer' : 'data', this.#trailer);
    if (length > 0) this.#left = length;
  }

  #acceptTrailer(record: ParsedRecord): void {
    if (viewOf(this.#trailer).getUint32(0, true) !== this.#checksum) {
      throw changed(describeRecord(record), record.at);
    }
    this.#running.add(this.#header, this.#checksum);
    this.#sink.end(record);
    this.#records += 1;
    this.#record = null;
    this.#expect(record.type === RecordType.END ? 'over' : 'header', this.#header);
  }

  #overrun(bytes: number): StreamError {
    return new StreamError(
      'ERR_STREAM_OVERRUN',
      `${bytes} bytes follow the end of the state: one session takes one state`,
      this.offset,
    );
  }
}

function outOfOrder(record: ParsedRecord): StreamError {
  return new StreamError(
    'ERR_STREAM_ORDER',
    `${describeRecord(record)} does not follow what came before it: records are missing, repeated, moved or from another stream; reset the device and send the state again`,
    record.at,
  );
}

function changed(what: string, offset: number): StreamError {
  return new StreamError(
    'ERR_STREAM_CHECKSUM',
    `the checksum of ${what} is wrong: bytes were changed or lost on the way; reset the device and send the state again`,
    offset,
  );
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
