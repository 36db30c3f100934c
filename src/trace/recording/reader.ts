import type { Side } from '../../relay/index.ts';
import { MAX_KEPT } from '../message-assembler.ts';
import type { TracedConnection, TraceEvent } from '../trace-event.ts';
import {
  BlockType,
  type Interface,
  MAX_BLOCK,
  readBlock,
  readInterface,
  readPacket,
  sectionOrder,
} from './blocks.ts';
import { damaged, decodeRecordHeader, LINK_TYPE, type RecordHeader, RecordKind } from './encapsulation.ts';
import { TraceError } from './trace-error.ts';

/** Interfaces of one section that are taken; a recording has two. */
const MAX_INTERFACES = 1024;

/** Messages that may be incomplete at once. A recorder writes all records of one before the next. */
const MAX_PARTIAL = 4;

/** A message of which records are still to come. */
interface Partial {
  readonly first: RecordHeader;
  readonly parts: Uint8Array[];
  size: number;
}

/**
 * Reads a recording piece by piece. Nothing is believed: each length is checked before it is used, and no more is kept
 * than has been read.
 */
export class RecordingReader {
  #rest = new Uint8Array(0);
  /** Bytes of the file before #rest. */
  #position = 0;
  #little: boolean | null = null;
  #interfaces: Interface[] = [];
  readonly #partial = new Map<string, Partial>();
  /** Packets of other link types, which were passed over. */
  skipped = 0;

  /**
   * Takes the next bytes of the file; returns what they complete.
   * @throws TraceError ERR_TRACE_FILE with the byte of the file
   */
  push(piece: Uint8Array): TraceEvent[] {
    const bytes = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    const events: TraceEvent[] = [];
    let at = 0;
    try {
      for (let size = 1; size > 0; at += size) size = this.#next(bytes.subarray(at), events);
    } catch (error) {
      if (!(error instanceof TraceError)) throw error;
      const byte = this.#position + at;
      throw new TraceError('ERR_TRACE_FILE', `${error.message} (at byte ${byte})`, { byte });
    }
    this.#position += at;
    this.#rest = bytes.slice(at);
    return events;
  }

  /** How many bytes at the end are part of no whole block: a recorder was killed. @throws TraceError for an empty file */
  end(): number {
    if (this.#little === null) throw damaged('it is empty, or no pcapng file');
    return this.#rest.length;
  }

  /** Takes one block; returns its size, 0 when it is not whole. */
  #next(bytes: Uint8Array, events: TraceEvent[]): number {
    if (this.#little === null || isSection(bytes)) {
      const order = sectionOrder(bytes);
      if (order === null) return 0;
      this.#little = order;
    }
    const little = this.#little;
    const block = readBlock(bytes, little);
    if (block === null) return 0;
    if (block.type === BlockType.SECTION) this.#interfaces = [];
    else if (block.type === BlockType.INTERFACE) this.#addInterface(readInterface(block.body, little));
    else if (block.type === BlockType.ENHANCED_PACKET) {
      const event = this.#packet(block.body, little);
      if (event !== null) events.push(event);
    }
    return block.size;
  }

  #addInterface(one: Interface): void {
    if (this.#interfaces.length === MAX_INTERFACES)
      throw damaged(`it has more than ${MAX_INTERFACES} interfaces`);
    this.#interfaces.push(one);
  }

  #packet(body: Uint8Array, little: boolean): TraceEvent | null {
    const { interfaceId, time, data } = readPacket(body, little);
    const its = this.#interfaces[interfaceId];
    if (its === undefined) throw damaged(`a packet is of interface ${interfaceId}, which is not described`);
    if (its.linkType !== LINK_TYPE) {
      this.skipped += 1;
      return null;
    }
    const header = decodeRecordHeader(data);
    return this.#record(header, data.subarray(header.size), time * its.unit);
  }

  #record(header: RecordHeader, content: Uint8Array, time: bigint): TraceEvent | null {
    const connection: TracedConnection = {
      number: header.connection,
      role: header.control ? 'control' : 'main',
    };
    const from: Side = header.fromServer ? 'server' : 'client';
    const { detail } = header;
    switch (header.kind) {
      case RecordKind.OPENED:
        return { connection, time, kind: 'opened', pid: detail };
      case RecordKind.ENDED:
        return { connection, time, kind: 'ended', from, end: { kind: 'end of stream' } };
      case RecordKind.LOST:
        return { connection, time, kind: 'ended', from, end: { kind: 'lost', errno: detail } };
      case RecordKind.REFUSED:
        return { connection, time, kind: 'ended', from, end: { kind: 'refused', errno: detail } };
      default: {
        const whole = this.#whole(header, content);
        if (whole === null) return null;
        const { bytes, first } = whole;
        const kind = header.kind === RecordKind.MESSAGE && bytes.length >= 16 ? 'message' : 'bytes';
        return { connection, time, kind, from, bytes, wireSize: first.length, fds: first.fds };
      }
    }
  }

  /** Joins the parts of a message; null while more are to come. */
  #whole(header: RecordHeader, content: Uint8Array): { first: RecordHeader; bytes: Uint8Array } | null {
    if (header.offset === 0 && !header.more) return { first: header, bytes: content.slice() };
    const key = `${header.connection} ${header.fromServer}`;
    if (header.offset === 0) {
      if (this.#partial.size === MAX_PARTIAL) throw damaged('too many messages are left incomplete');
      this.#partial.set(key, { first: header, parts: [], size: 0 });
    }
    const partial = this.#partial.get(key);
    if (partial === undefined || partial.size !== header.offset)
      throw damaged('a part of a message is missing');
    partial.parts.push(content.slice());
    partial.size += content.length;
    if (partial.size > MAX_KEPT) throw damaged(`a message has more than ${MAX_KEPT} bytes`);
    if (header.more) return null;
    this.#partial.delete(key);
    return { first: partial.first, bytes: Buffer.concat(partial.parts) };
  }
}

function isSection(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) === BlockType.SECTION;
}

/** How much to read of a file at a time, in bytes. */
export const READ_PIECE = MAX_BLOCK;
