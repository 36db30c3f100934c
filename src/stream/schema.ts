import {
  type BlockSchema,
  type DeviceImage,
  ELEMENT_SIZE,
  type FieldSchema,
  type FieldType,
  fieldSize,
  type ImageIdentity,
  type ImagePart,
  PAGE_SIZE,
  qualifiedName,
} from './device-image.ts';
import { MAX_BLOCKS, MAX_FIELD_BYTES, MAX_FIELDS, MAX_PARTS } from './format.ts';

/** A part as a stream describes it: what it has, at the version that was written. */
export interface WrittenPart {
  readonly name: string;
  readonly version: number;
  readonly fields: readonly Omit<FieldSchema, 'since'>[];
  readonly blocks: readonly Omit<BlockSchema, 'since'>[];
}

/** The bounds of the numbers that identify a device; the order is that of the HEADER. */
export const IDENTITY_LIMITS = {
  vendor: 0xffff,
  device: 0xffff,
  subsystemVendor: 0xffff,
  subsystemDevice: 0xffff,
  revision: 0xff,
  classCode: 0xff_ffff,
} as const satisfies Readonly<Record<Exclude<keyof ImageIdentity, 'kind'>, number>>;

const KIND = /^[ -~]{1,64}$/;
const PART_NAME = /^[a-z0-9]{0,16}$/;
const NAME = /^[A-Za-z0-9_]{1,64}$/;
const MAX_VERSION = 0xffff_ffff;

/** In what a device contradicts itself or the limits of the format, or null. */
export function imageProblem({ identity, schema, blocks }: DeviceImage): string | null {
  return (
    identityProblem(identity) ??
    partsProblem(schema.parts) ??
    schema.parts.map(versionsProblem).find((problem) => problem !== null) ??
    blocksProblem(schema.parts, blocks)
  );
}

function versionsProblem({ name, version, oldest, fields, blocks }: ImagePart): string | null {
  if (!isCount(oldest, 1, version)) return `part ${quote(name)}: oldest is not a number from 1 to ${version}`;
  const wrong = [...fields, ...blocks].find(({ since }) => !isCount(since, 1, version));
  return wrong === undefined ? null : `${wrong.name}: since is not a number from 1 to ${version}`;
}

function blocksProblem(parts: readonly ImagePart[], blocks: DeviceImage['blocks']): string | null {
  const declared = parts.flatMap((part) =>
    part.blocks.map(({ name, size }) => `${qualifiedName(part.name, name)} of ${size} bytes`),
  );
  const actual = blocks.map(({ name, size }) => `${name} of ${size} bytes`);
  const index = declared.findIndex((block, at) => block !== actual[at]);
  if (index !== -1) return `it declares block ${declared[index]} and has ${actual[index] ?? 'none'}`;
  return actual.length === declared.length ? null : `it does not declare block ${actual[declared.length]}`;
}

/** What is wrong with an identity, or null. */
export function identityProblem(identity: ImageIdentity): string | null {
  if (!KIND.test(identity.kind)) return `kind ${quote(identity.kind)} is not 1 to 64 printable characters`;
  const wrong = Object.entries(IDENTITY_LIMITS).find(
    ([key, limit]) => !isCount(Reflect.get(identity, key), 0, limit),
  );
  return wrong === undefined ? null : `${wrong[0]} is not a number from 0 to ${wrong[1]}`;
}

/** What is wrong with the parts of a schema, or null. */
export function partsProblem(parts: readonly WrittenPart[]): string | null {
  const fields = parts.flatMap((part) => part.fields);
  const blocks = parts.flatMap((part) => part.blocks);
  if (parts.length > MAX_PARTS) return `${parts.length} parts are more than ${MAX_PARTS}`;
  if (fields.length > MAX_FIELDS) return `${fields.length} fields are more than ${MAX_FIELDS}`;
  if (blocks.length > MAX_BLOCKS) return `${blocks.length} blocks are more than ${MAX_BLOCKS}`;
  for (const part of parts) {
    const problem = partProblem(part);
    if (problem !== null) return problem;
  }
  const twice = repeated(parts.map((part) => part.name));
  if (twice !== undefined) return `part ${quote(twice)} is there twice`;
  const bytes = fields.reduce((sum, field) => sum + fieldSize(field), 0);
  return bytes > MAX_FIELD_BYTES
    ? `the fields take ${bytes} bytes, more than ${MAX_FIELD_BYTES}: declare a memory block`
    : null;
}

function partProblem({ name, version, fields, blocks }: WrittenPart): string | null {
  if (!PART_NAME.test(name)) return `a part cannot be named ${quote(name)}`;
  if (!isCount(version, 1, MAX_VERSION)) return `part ${quote(name)} cannot have version ${version}`;
  const names = [...fields, ...blocks].map((entry) => entry.name);
  const badName = names.find((entry) => !NAME.test(entry));
  if (badName !== undefined) return `a field or block cannot be named ${quote(badName)}`;
  const twice = repeated(names);
  if (twice !== undefined) return `${quote(twice)} is there twice`;
  const badField = fields.find((field) => !isField(field.type, field.count));
  if (badField !== undefined) return `field ${badField.name} cannot be ${badField.type}[${badField.count}]`;
  const badBlock = blocks.find(({ size }) => !isCount(size, PAGE_SIZE) || size % PAGE_SIZE !== 0);
  return badBlock === undefined
    ? null
    : `block ${badBlock.name} has ${badBlock.size} bytes, which is no positive multiple of ${PAGE_SIZE}`;
}

/** Whether `value` is the name of a field's type. */
export function isFieldType(value: unknown): value is FieldType {
  return typeof value === 'string' && Object.hasOwn(ELEMENT_SIZE, value);
}

/** Whether `value` is an integer from `least` to `most`. */
export function isCount(value: unknown, least: number, most: number = Number.MAX_SAFE_INTEGER): boolean {
  return Number.isSafeInteger(value) && typeof value === 'number' && value >= least && value <= most;
}

function isField(type: FieldType, count: number): boolean {
  return isFieldType(type) && isCount(count, 1, MAX_FIELD_BYTES);
}

function repeated(names: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return names.find((name) => seen.size === seen.add(name).size);
}

function quote(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}...` : text);
}
