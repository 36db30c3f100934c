import type { SocketRole, TraceEvent } from '../trace-event.ts';
import { interfaceBlock, PACKET_FRAME, padded, sectionBlock, writePacketFrame } from './blocks.ts';
import {
  endKind,
  type RecordHeader,
  RecordKind,
  recordHeaderSize,
  writeRecordHeader,
} from './encapsulation.ts';

/** The interfaces of a recording, in the order of their numbers. */
const ROLES: readonly SocketRole[] = ['main', 'control'];

/** Bytes of a message in one record: Wireshark takes packets of up to 256 KiB (WTAP_MAX_PACKET_SIZE_STANDARD). */
export const PART_SIZE = 192 * 1024;

/** What stands at the start of a recording. `sockets` are the paths that were connected to, for people. */
export function recordingStart(
  application: string,
  sockets: Readonly<Record<SocketRole, string>>,
): Uint8Array[] {
  return [sectionBlock(application), ...ROLES.map((role) => interfaceBlock(role, sockets[role]))];
}

const NOTHING = new Uint8Array(0);

/** Writes the blocks of events one after the other into memory that is used again. */
export class RecordWriter {
  #bytes = new Uint8Array(64 * 1024);
  #view = new DataView(this.#bytes.buffer);
  #end = 0;

  /** Bytes that wait to be taken. */
  get size(): number {
    return this.#end;
  }

  /** Adds the blocks of an event. A long message takes several. */
  add(event: TraceEvent): void {
    switch (event.kind) {
      case 'opened':
        return this.#record(event, header(event, RecordKind.OPENED, 'client', event.pid), NOTHING);
      case 'ended': {
        const { end, from } = event;
        const errno = end.kind === 'end of stream' ? 0 : end.errno;
        return this.#record(event, header(event, endKind(end), from, errno), NOTHING);
      }
      case 'message':
      case 'bytes':
        return this.#addBytes(event);
    }
  }

  /** What has been written; valid until the next {@link add}. */
  take(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#end);
    this.#end = 0;
    return taken;
  }

  #addBytes(event: Extract<TraceEvent, { kind: 'message' | 'bytes' }>): void {
    const { bytes } = event;
    const head = header(
      event,
      event.kind === 'message' ? RecordKind.MESSAGE : RecordKind.BYTES,
      event.from,
      0,
    );
    head.length = event.wireSize;
    head.fds = event.fds;
    do {
      head.more = head.offset + PART_SIZE < bytes.length;
      const whole = head.offset === 0 && !head.more;
      this.#record(event, head, whole ? bytes : bytes.subarray(head.offset, head.offset + PART_SIZE));
      head.offset += PART_SIZE;
      head.fds = [];
    } while (head.offset < bytes.length);
  }

  #record({ connection, time }: TraceEvent, head: RecordHeader, content: Uint8Array): void {
    const headSize = recordHeaderSize(head);
    const packet = headSize + content.length;
    const at = this.#reserve(PACKET_FRAME + padded(packet));
    const frame = {
      interfaceId: ROLES.indexOf(connection.role),
      time,
      inbound: head.fromServer,
      size: packet,
    };
    const data = writePacketFrame(this.#view, at, frame);
    writeRecordHeader(head, this.#view, data);
    this.#bytes.set(content, data + headSize);
    // The padding, where something else stood before.
    this.#bytes.fill(0, data + packet, data + padded(packet));
  }

  #reserve(size: number): number {
    const at = this.#end;
    this.#end += size;
    if (this.#end <= this.#bytes.length) return at;
    const larger = new Uint8Array(2 * this.#end);
    larger.set(this.#bytes.subarray(0, at));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
    return at;
  }
}

type Draft = { -readonly [K in keyof RecordHeader]: RecordHeader[K] };

function header(
  { connection }: TraceEvent,
  kind: RecordHeader['kind'],
  from: 'client' | 'server',
  detail: number,
): Draft {
  return {
    kind,
    fromServer: from === 'server',
    control: connection.role === 'control',
    connection: connection.number,
    length: 0,
    offset: 0,
    more: false,
    detail,
    fds: [],
  };
}
