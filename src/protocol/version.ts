import { type Capabilities, capabilitiesObject } from './capabilities.ts';
import { Command } from './commands.ts';
import type { Cursor } from './cursor.ts';
import type { Json } from './json-field.ts';
import { parseJson } from './json-text.ts';
import { struct, u16 } from './layout.ts';
import { MAX_VERSION_DATA_DEPTH, MAX_VERSION_DATA_SIZE } from './limits.ts';
import { message } from './message.ts';
import { payload, type ValueOf } from './payload.ts';
import type { Tail } from './tail.ts';

/** The major version that Ferry speaks; there is no other yet. */
export const PROTOCOL_MAJOR = 0;

/** The newest minor version that Ferry speaks, the one of libvfio-user. QEMU speaks 0. */
export const PROTOCOL_MINOR = 2;

const Version = struct('version', {
  major: u16('major version'),
  minor: u16('minor version; in a reply at most the one proposed'),
});

/**
 * The version data: `{"capabilities": {...}}` in UTF-8 with a NUL at the end. It may be missing as a whole (null), and
 * its capabilities may be (an empty object); both mean the defaults.
 */
const versionData: Tail<'capabilities', Capabilities | null, never> = {
  name: 'capabilities',
  doc: 'optional JSON `{"capabilities": {...}}`, ended by a NUL',
  shape: { kind: 'text', format: 'JSON, NUL-terminated' },
  read: (cursor) => (cursor.left === 0 ? null : parse(cursor)),
  size: (value) => (value === null ? 0 : utf8.encode(text(value)).length + 1),
  write: (target, at, value) => {
    // The NUL is the zero that the buffer was made with.
    if (value !== null) target.set(utf8.encode(text(value)), at);
  },
  link: () => ({}),
  print: (value) =>
    value === null ? 'no capabilities' : JSON.stringify(capabilitiesObject.toJson(value, 'capabilities')),
};

const utf8 = new TextEncoder();

function text(value: Capabilities): string {
  return JSON.stringify({ capabilities: capabilitiesObject.toJson(value, 'capabilities') });
}

function parse(cursor: Cursor): Capabilities {
  const length = cursor.left;
  if (length > MAX_VERSION_DATA_SIZE)
    cursor.fail('version data', `has ${length} bytes, ${MAX_VERSION_DATA_SIZE} are read`);
  const start = cursor.take(length, 'version data');
  const raw = cursor.bytes.subarray(start, start + length);
  if (raw.indexOf(0) !== length - 1)
    cursor.fail('version data', 'must have one NUL, as its last byte', start);
  const refuse = (reason: string): never => cursor.fail('version data', reason, start);
  const root = parseJson(raw.subarray(0, -1), MAX_VERSION_DATA_DEPTH, refuse);
  if (root === null || typeof root !== 'object' || Array.isArray(root)) {
    return cursor.fail('version data', 'must be a JSON object', start);
  }
  const members: ReadonlyMap<string, Json> = new Map(Object.entries(root));
  return capabilitiesObject.parse(members.get('capabilities') ?? missing(members), 'capabilities');
}

/** `capabilities` may be left out, which means an empty object; null is not the same. */
function missing(members: ReadonlyMap<string, Json>): Json {
  return members.has('capabilities') ? null : {};
}

/** VERSION (vfio-user.rst, VFIO_USER_VERSION): the first message of a connection. */
export const version = message({
  command: Command.VERSION,
  doc: 'Proposes a protocol version and capabilities; the reply settles them.',
  request: payload('VERSION request', { fixed: Version, tail: versionData }),
  reply: payload('VERSION reply', { fixed: Version, tail: versionData }),
  fds: { reply: { max: 1, doc: 'the client end of the twin socket, if the reply names one' } },
});

/** A version with capabilities, as proposed or replied. */
export type Version = ValueOf<typeof version.request>;
