import { Errno } from '../../errors/index.ts';
import {
  type AnyPayload,
  CapabilityHeader,
  Command,
  FEATURE_MASK,
  FeatureFlag,
  type FeatureMethod,
  features,
  HEADER_SIZE,
  Header,
  HeaderFlag,
  messages,
  RegionCapabilityId,
  RegionInfoFlag,
  RegionType,
  SparseArea,
  SparseMmap,
} from '../../protocol/index.ts';
import { FD_KINDS } from '../../relay/index.ts';
import { KNOWN_VERSION, MAX_CHAIN, payloadKey, ROOT_KEY, UNDECLARED_KEY } from '../decode/index.ts';
import { At, FD_SIZE, FdAt, FIXED_SIZE, RecordFlag, RecordKind, VERSION } from '../recording/index.ts';
import { RUNTIME } from './lua-runtime.ts';
import { LuaShapes } from './lua-shapes.ts';
import { LuaCode, type LuaValue, lua } from './lua-text.ts';
import { ProtoFields } from './proto-fields.ts';

/** A table with names. */
type LuaTable = { readonly [name: string]: LuaValue };

/** Where the capabilities of a region lie among the names of fields. */
const CHAIN_KEY = `${payloadKey('DEVICE_GET_REGION_INFO reply')}.capabilities`;

/** The whole dissector, written from the declarations of the protocol. */
export function renderDissector(): string {
  const fields = new ProtoFields();
  const shapes = new LuaShapes(fields);
  const tables = [
    ['SHAPES', structs(shapes)],
    ['RECORD_FIELDS', recordFields(fields)],
    ['MESSAGES', numbered(messages.map((one) => [one.command, messageTable(one, shapes)]))],
    ['FEATURES', numbered(Object.values(features).map((one) => [one.id, featureTable(one, shapes)]))],
    ['COMMANDS', numbered(messages.map(({ command, name }) => [command, name]))],
    ['ERRNOS', errnos()],
    ['RECORD_KINDS', recordKinds()],
    [
      'SENDERS',
      numbered([
        [0, 'client'],
        [1, 'server'],
      ]),
    ],
    ...Object.entries(constants()),
  ] as const;
  specials(fields);
  return [
    INTRO,
    'local vfio_user = Proto("vfio_user", "vfio-user")',
    'local F = {}',
    ...fields.lines,
    'local all = {}\nfor _, field in pairs(F) do all[#all + 1] = field end\nvfio_user.fields = all',
    ...tables.map(([name, value]) => `local ${name} = ${lua(value)}`),
    RUNTIME.trim(),
    '',
  ].join('\n');
}

const INTRO = `-- Dissector of vfio-user for Wireshark and tshark, for recordings of \`ferry trace -w\`.
-- Written by \`ferry trace dissector\` from the declarations of the protocol; do not edit.
--
--   tshark -X lua_script:vfio-user.lua -r recording.pcapng
--
-- For Wireshark put it into the folder of personal Lua plugins (Help, About, Folders).`;

/** A table whose keys are numbers, which {@link lua} knows only as a list from 1. */
function numbered(entries: readonly (readonly [number, LuaValue])[]): LuaCode {
  return new LuaCode(`{\n${entries.map(([key, value]) => `  [${key}] = ${lua(value)},`).join('\n')}\n}`);
}

function structs(shapes: LuaShapes): LuaValue {
  return {
    header: shapes.fixed(Header, `${ROOT_KEY}.header`),
    capability: shapes.fixed(CapabilityHeader, CHAIN_KEY),
    region_type: shapes.fixed(RegionType, `${CHAIN_KEY}.type`),
    sparse: shapes.fixed(SparseMmap, `${CHAIN_KEY}.sparse_mmap`),
    area: shapes.fixed(SparseArea, `${CHAIN_KEY}.sparse_mmap.areas`),
  };
}

function messageTable({ request, reply }: (typeof messages)[number], shapes: LuaShapes): LuaValue {
  return { request: payloadTable(request, shapes), reply: payloadTable(reply, shapes) };
}

function payloadTable({ label, shape, older }: AnyPayload, shapes: LuaShapes): LuaValue {
  const key = payloadKey(label);
  return {
    body: shapes.body(shape, key),
    older: older === null ? undefined : shapes.fixed(older, key),
    data: shape.tail === null ? undefined : `${key}.${shape.tail.name}`,
  };
}

function featureTable(
  { get, set }: { readonly get: FeatureMethod | null; readonly set: FeatureMethod | null },
  shapes: LuaShapes,
): LuaValue {
  return { get: methodTable(get, shapes), set: methodTable(set, shapes) };
}

function methodTable(method: FeatureMethod | null, shapes: LuaShapes): LuaValue | undefined {
  if (method === null) return undefined;
  const body = (payload: AnyPayload | null): LuaValue | undefined =>
    payload === null ? undefined : shapes.body(payload.shape, payloadKey(payload.label));
  return { request: body(method.request), reply: body(method.reply) };
}

function errnos(): LuaCode {
  return numbered(Object.entries(Errno).map(([name, number]) => [number, name]));
}

function recordKinds(): LuaCode {
  return numbered(Object.entries(RecordKind).map(([name, number]) => [number, name.toLowerCase()]));
}

const RECORD_KEY = `${ROOT_KEY}.record`;

/** The fields of the record's own header; they are big-endian. */
function recordFields(fields: ProtoFields): LuaValue {
  const senders = numbered([
    [0, 'client'],
    [1, 'server'],
  ]);
  fields.group(RECORD_KEY, 'record', 'what the recorder knows of the message');
  const field = (name: string, at: number, size: number, values: LuaValue = new LuaCode('nil')): LuaTable => {
    const key = `${RECORD_KEY}.${name}`;
    fields.special(key, `uint${size * 8}`, [name, new LuaCode('base.DEC'), values]);
    return { name, at, size, key };
  };
  return [
    field('version', At.VERSION, 1),
    field('kind', At.KIND, 1, recordKinds()),
    field('sender', At.SENDER, 1, senders),
    { ...field('flags', At.FLAGS, 1), parts: recordFlags(fields) },
    field('connection', At.CONNECTION, 4),
    field('length', At.LENGTH, 4),
    field('offset', At.OFFSET, 4),
    field('fd_count', At.FD_COUNT, 2),
    field('header_length', At.HEADER_LENGTH, 2),
    field('detail', At.DETAIL, 4),
  ];
}

/** The keys of the record's flags. */
function recordFlags(fields: ProtoFields): readonly string[] {
  return Object.entries(RecordFlag).map(([name, mask]) => {
    const part = name.toLowerCase();
    const key = `${RECORD_KEY}.flags.${part}`;
    fields.special(key, 'bool', [part, 8, new LuaCode('nil'), mask]);
    return key;
  });
}

/** What is no field of a declared message. */
function specials(fields: ProtoFields): void {
  const dec = new LuaCode('base.DEC');
  const none = new LuaCode('base.NONE');
  const fd = `${RECORD_KEY}.fd`;
  fields.group(`${ROOT_KEY}.header`, 'header', 'the 16 bytes before every message');
  fields.group(fd, 'fd', 'a descriptor that came with the message');
  fields.special(`${fd}.kind`, 'uint8', ['kind', dec, numbered(FD_KINDS.map((kind, i) => [i, kind]))]);
  fields.special(`${fd}.size`, 'uint64', ['size', dec]);
  fields.special(`${fd}.identity`, 'uint64', ['identity', dec]);
  fields.group(`${CHAIN_KEY}.sparse_mmap.areas`, 'areas', 'parts of the region that can be mapped');
  fields.bytes(`${CHAIN_KEY}.data`, 'data', 'of a capability that is not known');
  fields.bytes(UNDECLARED_KEY, 'undeclared', 'bytes that no declaration covers');
  fields.bytes(`${ROOT_KEY}.continuation`, 'continuation', 'the next part of a long message');
  fields.bytes(`${ROOT_KEY}.bytes`, 'bytes', 'what is no message');
  fields.special(`${ROOT_KEY}.response_to`, 'framenum', [
    'Response to',
    none,
    new LuaCode('frametype.REQUEST'),
  ]);
  fields.special(`${ROOT_KEY}.response_in`, 'framenum', [
    'Response in',
    none,
    new LuaCode('frametype.RESPONSE'),
  ]);
  fields.special(`${ROOT_KEY}.latency`, 'relative_time', ['Latency']);
}

function constants(): Readonly<Record<string, number>> {
  return {
    HEADER_SIZE,
    HEADER_TYPE: HeaderFlag.TYPE_MASK,
    HEADER_NO_REPLY: HeaderFlag.NO_REPLY,
    HEADER_ERROR: HeaderFlag.ERROR,
    COMMAND_FEATURE: Command.DEVICE_FEATURE,
    FEATURE_MASK,
    FEATURE_GET: FeatureFlag.GET,
    FEATURE_SET: FeatureFlag.SET,
    FEATURE_PROBE: FeatureFlag.PROBE,
    FLAG_CAPS: RegionInfoFlag.CAPS,
    CAPABILITY_SPARSE: RegionCapabilityId.SPARSE_MMAP,
    CAPABILITY_TYPE: RegionCapabilityId.TYPE,
    CAPABILITY_NEXT: CapabilityHeader.at.next,
    KNOWN_VERSION,
    MAX_CHAIN,
    RECORD_VERSION: VERSION,
    RECORD_SIZE: FIXED_SIZE,
    RECORD_FD_COUNT: At.FD_COUNT,
    RECORD_HEADER_LENGTH: At.HEADER_LENGTH,
    RECORD_LITTLE: RecordFlag.LITTLE_ENDIAN,
    RECORD_MESSAGE: RecordKind.MESSAGE,
    RECORD_BYTES: RecordKind.BYTES,
    FD_SIZE,
    FD_KIND: FdAt.KIND,
    FD_SIZE_AT: FdAt.SIZE,
    FD_IDENTITY: FdAt.IDENTITY,
  };
}
