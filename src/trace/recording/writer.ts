import type { SocketRole, TraceEvent } from '../trace-event.ts';
import { interfaceBlock, packetBlock, sectionBlock } from './blocks.ts';
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

/** The blocks of an event. A long message takes several. */
export function recordEvent(event: TraceEvent): Uint8Array[] {
  switch (event.kind) {
    case 'opened':
      return [record(event, { kind: RecordKind.OPENED, detail: event.pid })];
    case 'ended': {
      const { end, from } = event;
      const detail = end.kind === 'end of stream' ? 0 : end.errno;
      return [record(event, { kind: endKind(end), detail, fromServer: from === 'server' })];
    }
    case 'message':
    case 'bytes':
      return recordBytes(event);
  }
}

function recordBytes(event: Extract<TraceEvent, { kind: 'message' | 'bytes' }>): Uint8Array[] {
  const { bytes, wireSize, from } = event;
  const kind = event.kind === 'message' ? RecordKind.MESSAGE : RecordKind.BYTES;
  const parts: Uint8Array[] = [];
  for (let offset = 0; offset === 0 || offset < bytes.length; offset += PART_SIZE) {
    const part = bytes.subarray(offset, offset + PART_SIZE);
    const more = offset + PART_SIZE < bytes.length;
    const fds = offset === 0 ? event.fds : [];
    const common = { kind, fromServer: from === 'server', length: wireSize, offset, more, fds };
    parts.push(record(event, common, part));
  }
  return parts;
}

function record(
  { connection, time }: TraceEvent,
  header: Partial<RecordHeader> & Pick<RecordHeader, 'kind'>,
  content: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const whole: RecordHeader = {
    ...{ fromServer: false, length: 0, offset: 0, more: false, detail: 0, fds: [] },
    control: connection.role === 'control',
    connection: connection.number,
    ...header,
  };
  return packetBlock({
    interfaceId: ROLES.indexOf(connection.role),
    time,
    inbound: whole.fromServer,
    headSize: recordHeaderSize(whole),
    writeHead: (view, at) => writeRecordHeader(whole, view, at),
    content,
  });
}
