import { Command } from './commands.ts';
import { flags } from './flags.ts';
import type { Json } from './json-field.ts';
import { parseJson } from './json-text.ts';
import { struct, u32, u64, type ValueOfStruct } from './layout.ts';
import { MAX_INSPECT_DEPTH } from './limits.ts';
import { message } from './message.ts';
import { payload } from './payload.ts';
import { argszAtLeast } from './rules.ts';
import type { Tail } from './tail.ts';

/**
 * What is appended to the path of a server's main socket to name its control socket. Ours: a server that has none takes
 * every command on its main socket.
 */
export const CONTROL_SUFFIX = '.control';

/** Flags of precopy information (linux/vfio.h, VFIO_PRECOPY_INFO_). */
export const PrecopyInfoFlag = flags(
  { REINIT: 1 },
  { REINIT: 'there is new initial data since the last time' },
);

const Extension = struct('request', {
  argsz: u32('largest reply payload, bytes'),
  flags: u32('0', { only: 0 }),
});

/** The reply of FERRY_PRECOPY_INFO (linux/vfio.h, struct vfio_precopy_info). */
export const PrecopyInfo = struct('precopy info', {
  argsz: u32('bytes of the payload'),
  flags: u32('see the flags', { format: PrecopyInfoFlag }),
  initialBytes: u64('what is left of the data that has to come first, bytes'),
  dirtyBytes: u64('what else could be read now, bytes'),
});

/** The value of {@link PrecopyInfo}. */
export type PrecopyInfo = ValueOfStruct<typeof PrecopyInfo>;

/** FERRY_PRECOPY_INFO: ours, as the kernel's ioctl VFIO_MIG_GET_PRECOPY_INFO. Only after `ferry.precopy_info`. */
export const ferryPrecopyInfo = message({
  command: Command.FERRY_PRECOPY_INFO,
  doc: 'Ours. How much a device in PRE_COPY or PRE_COPY_P2P still has to transfer.',
  request: payload('FERRY_PRECOPY_INFO request', {
    fixed: Extension,
    trailing: 'tolerated',
    rules: [argszAtLeast(PrecopyInfo.size, 'kernel, vfio_check_precopy_ioctl: EINVAL')],
  }),
  reply: payload('FERRY_PRECOPY_INFO reply', { fixed: PrecopyInfo, trailing: 'tolerated' }),
});

/** A JSON text up to the end of the payload; null when argsz left no room for it. */
const report: Tail<'report', Json, never> = {
  name: 'report',
  doc: 'JSON, unless argsz was too small for it',
  shape: { kind: 'text', format: 'JSON' },
  read: (cursor) => {
    const start = cursor.take(cursor.left, 'report');
    if (start === cursor.bytes.length) return null;
    const raw = cursor.bytes.subarray(start);
    return parseJson(raw, MAX_INSPECT_DEPTH, (reason) => cursor.fail('report', reason, start));
  },
  size: (value) => text(value).length,
  write: (bytes, at, value) => bytes.set(text(value), at),
  link: () => ({}),
  print: (value) => `report=${JSON.stringify(value)}`,
};

function text(value: Json): Uint8Array {
  return new TextEncoder().encode(value === null ? '' : JSON.stringify(value));
}

const InspectReply = struct('report', {
  argsz: u32('bytes needed, report included'),
  flags: u32('0', { only: 0 }),
});

/** FERRY_INSPECT: ours. Only after `ferry.inspect`. */
export const ferryInspect = message({
  command: Command.FERRY_INSPECT,
  doc: 'Ours. What the server knows of itself: identity, migration state, owner of the session, hold, last error.',
  request: payload('FERRY_INSPECT request', {
    fixed: Extension,
    trailing: 'tolerated',
    rules: [argszAtLeast(Extension.size, 'ours: EINVAL')],
  }),
  reply: payload('FERRY_INSPECT reply', { fixed: InspectReply, tail: report }),
});
