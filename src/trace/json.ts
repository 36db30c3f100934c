import type { Told } from './conversation.ts';
import type { FieldNode } from './decode/index.ts';
import { nodeText } from './index-names.ts';
import type { TraceEvent } from './trace-event.ts';

/** A message as the JSON object that is printed for it; 64-bit values are bigint. */
export function messageJson({ event, message, number, answers, latency, change }: Told): object {
  const { connection, time, from, wireSize, fds } = event;
  return {
    number,
    time,
    connection: connection.number,
    socket: connection.role,
    from,
    kind: message.kind,
    command: message.name,
    id: message.header.messageId,
    flags: message.header.flags,
    bytes: wireSize,
    ...(message.kind === 'error' ? { errno: message.errno, error: message.header.error } : {}),
    ...(fds.length > 0 ? { fds } : {}),
    ...(answers === null ? {} : { answers, latency }),
    fields: message.fields.map(fieldJson),
    ...(message.problems.length > 0 ? { problems: message.problems } : {}),
    ...(change === null ? {} : { change }),
  };
}

function fieldJson(node: FieldNode): object {
  const { name, offset, size, value, children } = node;
  if (value === null) return { name, offset, size, fields: children.map(fieldJson) };
  if (value instanceof Uint8Array) return { name, offset, size, hex: Buffer.from(value).toString('hex') };
  const text = nodeText(node);
  return { name, offset, size, value, ...(text === String(value) ? {} : { text }) };
}

/** Any other event as the JSON object that is printed for it. */
export function eventJson(event: Exclude<TraceEvent, { kind: 'message' }>): object {
  const { connection, time, kind } = event;
  const common = { kind, time, connection: connection.number, socket: connection.role };
  switch (event.kind) {
    case 'opened':
      return { ...common, pid: event.pid };
    case 'ended':
      return { ...common, from: event.from, end: event.end };
    case 'bytes': {
      const { from, wireSize, bytes, fds } = event;
      return { ...common, from, bytes: wireSize, hex: Buffer.from(bytes).toString('hex'), fds };
    }
  }
}
