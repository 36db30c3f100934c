import { errnoName } from '../errors/index.ts';
import { capabilitiesObject } from './capabilities.ts';
import { deviations } from './deviations.ts';
import type { FeatureMethod } from './features.ts';
import { features } from './features.ts';
import { Header, HeaderFlag } from './header.ts';
import { type JsonObject, type Members, shapeName } from './json-field.ts';
import type { FieldFormat } from './layout.ts';
import type { FdUse, Message } from './message.ts';
import { messages } from './messages.ts';
import type { AnyPayload } from './payload.ts';
import { CapabilityHeader, RegionType, SparseArea, SparseMmap } from './region-capabilities.ts';
import type { BodyShape, ElementShape, TailShape } from './tail.ts';
import { V1MigrationInfo } from './v1-migration.ts';
import { wireName } from './wire-name.ts';

/** The whole of docs/protocol.md, written from the declarations of this folder. */
export function renderProtocolDocs(): string {
  const sections = [
    intro,
    section('Header', table(layoutColumns, layoutRows(Header)), flagTable('flags', HeaderFlag)),
    section(
      'Capabilities of VERSION',
      capabilityIntro,
      table(capabilityColumns, capabilityRows(capabilitiesObject)),
    ),
    section('Messages', ...messages.map(renderMessage)),
    section('Device features', featureIntro, ...Object.values(features).map(renderFeature)),
    section(
      'Region capabilities',
      chainIntro,
      ...[CapabilityHeader, SparseMmap, SparseArea, RegionType].map(renderStruct),
    ),
    section('The migration region of v1', v1Intro, table(layoutColumns, layoutRows(V1MigrationInfo))),
    section('Where text and implementations differ', deviationIntro, renderDeviations()),
  ];
  return `${sections.join('\n\n')}\n`;
}

const intro = `# The protocol on the wire

Written from the declarations in \`src/protocol\` by \`node scripts/protocol-docs.js\`; do not edit. "Text" is vfio-user.rst as of QEMU 11.1,
"kernel" is Linux 7.2 (linux/vfio.h and drivers/vfio).

Everything is in the host's byte order, packed, without alignment. Offsets count from the end of the 16-byte header.
A rule that is broken is answered with its errno; the connection stays usable.`;

const capabilityIntro =
  'Members of `capabilities` in the JSON of VERSION. All are optional, unknown ones are ignored, a wrong type or range is EINVAL.';
const featureIntro =
  'The data of DEVICE_FEATURE, which begins 8 bytes into the payload. PROBE reads and returns no data of its own.';
const chainIntro = 'The chain that follows DEVICE_GET_REGION_INFO; each capability begins with a header.';
const v1Intro =
  'The registers at the start of a region of type 3, subtype 1, by which devices were moved until Linux 5.17; the data section follows them. Their use: `docs/v1.md`.';
const deviationIntro =
  'For an errno the text comes first, then the kernel, then libvfio-user. For a layout the form that implementations use is sent, and both are accepted.';

const layoutColumns = ['offset', 'size', 'field', 'type', 'meaning'];
const capabilityColumns = ['name', 'type', 'meaning'];

function renderMessage(one: Message): string {
  const number = one.command < 0x100 ? String(one.command) : `0x${one.command.toString(16)}`;
  const sender = one.sender === 'client' ? 'Client to server.' : 'Server to client.';
  return block(
    `### ${one.name} (${number})`,
    `${sender} ${one.doc}`,
    renderPayload('Request', one.request),
    describeFds('request', one.fds.request),
    renderPayload('Reply', one.reply, one.request),
    describeFds('reply', one.fds.reply),
  );
}

function describeFds(direction: string, use: FdUse | null): string {
  return use === null ? '' : `Descriptors of the ${direction}: up to ${use.max}. ${capital(use.doc)}.`;
}

function renderFeature(feature: (typeof features)[keyof typeof features]): string {
  const { get, set }: { get: FeatureMethod | null; set: FeatureMethod | null } = feature;
  return block(
    `### ${feature.name} (${feature.id})`,
    `${feature.doc} Methods: ${[get && 'GET', set && 'SET'].filter(Boolean).join(', ')}.`,
    ...[get, set].flatMap((method, i) => renderMethod(i === 0 ? 'GET' : 'SET', method)),
  );
}

function renderMethod(name: string, method: FeatureMethod | null): readonly string[] {
  if (method === null) return [];
  const { request, reply } = method;
  return [
    request === null ? '' : renderPayload(`${name} request`, request),
    renderPayload(`${name} reply`, reply),
  ];
}

/** A payload; what is laid out as `before` (the request, for a reply) is not shown twice. */
function renderPayload(title: string, payload: AnyPayload, before: AnyPayload | null = null): string {
  const { shape, older, trailing } = payload;
  const rows = bodyRows(shape);
  const same = before !== null && JSON.stringify(rows) === JSON.stringify(bodyRows(before.shape));
  const summary = rows.length === 0 ? ': empty.' : same ? ': laid out as the request.' : '';
  const trailer = trailing === 'tolerated' ? ' Bytes after it are ignored.' : '';
  const layout = rows.length === 0 || same ? [] : [table(layoutColumns, rows), ...flagTables(shape)];
  const also = older === null ? '' : `Also accepted: ${older.size} bytes, ${older.name}.`;
  return block(`**${title}**${summary}${trailer}`, ...layout, also, renderRules(payload));
}

function renderRules({ rules, fdRules }: AnyPayload): string {
  return ruleList([
    ...rules.map((rule) => ({ ...rule, subject: `\`${wireName(rule.field)}\`` })),
    ...fdRules.map((rule) => ({ ...rule, subject: 'descriptors' })),
  ]);
}

interface ListedRule {
  readonly subject: string;
  readonly must: string;
  readonly errno?: number;
  readonly source: string;
}

function ruleList(rules: readonly ListedRule[]): string {
  return rules
    .map(
      ({ subject, must, errno = 22, source }) => `- ${subject} must ${must}: ${errnoName(errno)} (${source})`,
    )
    .join('\n');
}

function renderStruct(shape: ElementShape): string {
  return block(`**${capital(shape.name)}**`, table(layoutColumns, layoutRows(shape)));
}

/** The rows of a fixed part. */
function layoutRows(shape: ElementShape, base = 0): readonly (readonly string[])[] {
  return shape.fields.map(({ wireName: name, offset, field }) => {
    const only = field.options.only === undefined ? '' : `; always ${field.options.only}`;
    const type = field.type === 'padding' ? '' : field.type;
    return [String(base + offset), String(field.size), name, type, `${field.doc}${only}`];
  });
}

/** The rows of a fixed part and of what follows it. */
function bodyRows({ fixed, tail }: BodyShape, base = 0): readonly (readonly string[])[] {
  const end = base + fixed.size;
  return [
    ...layoutRows(fixed, base),
    ...(tail === null ? [] : tailRows(tail.name, tail.doc, tail.shape, end)),
  ];
}

function tailRows(name: string, doc: string, shape: TailShape, at: number): readonly (readonly string[])[] {
  const row = (size: string, type: string) => [String(at), size, wireName(name), type, doc];
  switch (shape.kind) {
    case 'bytes':
      return [
        row(
          shape.length === null ? 'rest' : wireName(shape.length),
          shape.unit === 1 ? 'bytes' : `u${shape.unit * 8}[]`,
        ),
      ];
    case 'array': {
      const also = shape.older.map(({ size }) => `; ${size} bytes each are also accepted`).join('');
      const size = `${wireName(shape.count)} * ${shape.element.size}`;
      const elements = layoutRows(shape.element).map(([offset, ...rest]) => [`+${offset}`, ...rest]);
      return [[String(at), size, wireName(name), 'array', `${doc}${also}`], ...elements];
    }
    case 'optional': {
      const [first, ...rest] = bodyRows(shape.body, at);
      const [offset = '', size = '', field = '', type = '', meaning = ''] = first ?? [];
      return [[offset, size, field, type, `with flag ${shape.flag}: ${meaning}`], ...rest];
    }
    case 'text':
      return [row('rest', shape.format)];
    case 'chain':
      return [row('rest', 'chain')];
  }
}

function flagTables({ fixed }: BodyShape): readonly string[] {
  return fixed.fields.map(({ wireName: name, field }) =>
    flagTable(name, field.options.format, field.options.strict),
  );
}

function flagTable(name: string, format: FieldFormat | undefined, strict = false): string {
  if (typeof format !== 'object') return '';
  const bits = format.bits.map((bit) => `- \`${name}\` 0x${bit.value.toString(16)} ${bit.name}: ${bit.doc}`);
  return [...bits, ...(strict ? [`- any other bit of \`${name}\`: EINVAL`] : [])].join('\n');
}

function capabilityRows<M extends Members>(
  parent: JsonObject<M>,
  prefix = '',
): readonly (readonly string[])[] {
  return Object.entries(parent.members).flatMap(([name, field]) => {
    const path = `${prefix}${wireName(name)}`;
    const row = [path, shapeName(field.shape), field.doc];
    if (field.shape.kind !== 'object') return [row];
    return [row, ...memberRows(field.shape.members, `${path}.`)];
  });
}

function memberRows(members: Members, prefix: string): readonly (readonly string[])[] {
  return Object.entries(members).map(([name, field]) => [
    `${prefix}${wireName(name)}`,
    shapeName(field.shape),
    field.doc,
  ]);
}

function renderDeviations(): string {
  const rows = deviations.map(({ about, text, others, ferry }) => [about, text, others, ferry]);
  return table(['about', 'text', 'kernel and implementations', 'Ferry'], rows);
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n');
}

function section(title: string, ...parts: readonly string[]): string {
  return block(`## ${title}`, ...parts);
}

/** Paragraphs, the empty ones left out. */
function block(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('\n\n');
}

function capital(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
