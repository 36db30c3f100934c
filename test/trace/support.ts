import fc from 'fast-check';
import {
  type AnyPayload,
  Command,
  encodeHeader,
  FeatureHead,
  features,
  messages,
} from '../../src/protocol/index.ts';
import { type MessageEvent, RecordWriter, type SocketRole, type TraceEvent } from '../../src/trace/index.ts';
import { randomValue } from '../protocol/arbitraries.ts';

/** A payload that can be written, as all of the protocol can. */
type Writable = AnyPayload & { encode(value: object): Uint8Array };

function isWritable(payload: AnyPayload): payload is Writable {
  return 'encode' in payload && typeof payload.encode === 'function';
}

/** A kind of message: its payload, and what stands before that. */
export interface MessageSort {
  readonly label: string;
  readonly command: Command;
  readonly reply: boolean;
  /** Random whole messages, header included. */
  readonly bytes: fc.Arbitrary<Buffer>;
}

/** Every message that is declared, in both directions, and every method of every feature. */
export function everySort(): readonly MessageSort[] {
  const plain = messages.flatMap(({ command, request, reply }) => [
    sort(command, false, request),
    sort(command, true, reply),
  ]);
  return [...plain, ...featureSorts()];
}

function featureSorts(): readonly MessageSort[] {
  return Object.values(features).flatMap(({ id, get, set }) =>
    [
      { bit: 0x1_0000, method: get },
      { bit: 0x2_0000, method: set },
    ].flatMap(({ bit, method }) => {
      if (method === null) return [];
      const flags = bit | id;
      const request = method.request === null ? [] : [sort(16, false, method.request, flags)];
      return [...request, sort(16, true, method.reply, flags)];
    }),
  );
}

function sort(command: Command, reply: boolean, payload: AnyPayload, feature?: number): MessageSort {
  if (!isWritable(payload)) throw new Error(`${payload.label} can't be written`);
  const bytes = randomValue(payload).map((value) => {
    // A feature's data is declared by itself; what is asked for without a method has none.
    const probe = command === Command.DEVICE_FEATURE && feature === undefined;
    const data = payload.encode(
      probe ? { ...value, flags: 0x4_0000 | (Number(value['flags']) & 0xffff) } : value,
    );
    return feature === undefined
      ? whole(command, reply, data)
      : whole(command, reply, withHead(feature, data));
  });
  return { label: payload.label, command, reply, bytes };
}

function withHead(flags: number, data: Uint8Array): Uint8Array {
  const head = new Uint8Array(FeatureHead.size);
  FeatureHead.write(new DataView(head.buffer), 0, { argsz: FeatureHead.size + data.length, flags });
  return Buffer.concat([head, data]);
}

/** A message with its header. */
export function whole(command: number, reply: boolean, payload: Uint8Array, messageId = 7): Buffer {
  const size = 16 + payload.length;
  return Buffer.concat([encodeHeader({ messageId, command, size, flags: reply ? 1 : 0, error: 0 }), payload]);
}

/** A message as an event of a trace. */
export function messageEvent(
  from: 'client' | 'server',
  bytes: Uint8Array,
  { time = 0n, number = 1, role = 'main' as SocketRole, fds = [] as MessageEvent['fds'] } = {},
): MessageEvent {
  return { kind: 'message', connection: { number, role }, time, from, bytes, wireSize: bytes.length, fds };
}

/** Some examples of a sort, the same each time. */
export function examples({ bytes }: MessageSort, count: number, seed = 1): readonly Buffer[] {
  return fc.sample(bytes, { numRuns: count, seed });
}

/** The blocks of an event in a recording. */
export function recordEvent(event: TraceEvent): Buffer[] {
  const writer = new RecordWriter();
  writer.add(event);
  const bytes = Buffer.from(writer.take());
  const blocks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at + 4)) {
    blocks.push(bytes.subarray(at, at + bytes.readUInt32LE(at + 4)));
  }
  return blocks;
}
