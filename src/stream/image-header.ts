import type { DeviceImage, ImageIdentity } from './device-image.ts';
import { MAX_HEADER_DATA } from './format.ts';
import { identityProblem, imageProblem, isFieldType, partsProblem, type WrittenPart } from './schema.ts';
import { StreamError } from './stream-error.ts';

/** What the HEADER record says: whose state this is and what it consists of. */
export interface ImageHeader {
  readonly identity: ImageIdentity;
  readonly parts: readonly WrittenPart[];
}

/**
 * Throws `ERR_STREAM_SCHEMA` for a device whose state could not be written: a name, number or size out of range,
 * something there twice, blocks that differ from the schema. Worth calling as soon as a device is made.
 */
export function requireSoundImage(image: DeviceImage): void {
  encodeImageHeader(image);
}

/** The data of the HEADER record. Throws like {@link requireSoundImage}. */
export function encodeImageHeader(image: DeviceImage): Uint8Array {
  const problem = imageProblem(image);
  if (problem !== null) throw unsound(problem);
  const { kind, vendor, device, subsystemVendor, subsystemDevice, revision, classCode } = image.identity;
  const header: ImageHeader = {
    identity: { kind, vendor, device, subsystemVendor, subsystemDevice, revision, classCode },
    parts: image.schema.parts.map(({ name, version, fields, blocks }) => ({
      name,
      version,
      fields: fields.map((field) => ({ name: field.name, type: field.type, count: field.count })),
      blocks: blocks.map((block) => ({ name: block.name, size: block.size })),
    })),
  };
  const data = Buffer.from(JSON.stringify(header));
  if (data.length <= MAX_HEADER_DATA) return data;
  throw unsound(
    `its description takes ${data.length} bytes, more than ${MAX_HEADER_DATA}; declare arrays instead of single fields`,
  );
}

function unsound(problem: string): StreamError {
  return new StreamError('ERR_STREAM_SCHEMA', `this device's state cannot be migrated: ${problem}`, 0);
}

/** Reads and checks the data of a HEADER record that ends at `offset` of the stream. */
export function decodeImageHeader(data: Uint8Array, offset: number): ImageHeader {
  const header = toImageHeader(parseJson(data));
  const problem =
    header === null ? 'it lacks a member' : (identityProblem(header.identity) ?? partsProblem(header.parts));
  if (header !== null && problem === null) return header;
  throw new StreamError('ERR_STREAM_MALFORMED', `the HEADER is malformed: ${problem}`, offset);
}

function parseJson(data: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data));
  } catch {
    return null;
  }
}

/** The value with its types established, or null; ranges are checked afterwards. */
function toImageHeader(json: unknown): ImageHeader | null {
  const identity = toIdentity(member(json, 'identity'));
  const parts = list(member(json, 'parts'), toPart);
  return identity === null || parts === null ? null : { identity, parts };
}

function toIdentity(json: unknown): ImageIdentity | null {
  const kind = member(json, 'kind');
  if (typeof kind !== 'string') return null;
  return {
    kind,
    vendor: number(json, 'vendor'),
    device: number(json, 'device'),
    subsystemVendor: number(json, 'subsystemVendor'),
    subsystemDevice: number(json, 'subsystemDevice'),
    revision: number(json, 'revision'),
    classCode: number(json, 'classCode'),
  };
}

function toPart(json: unknown): WrittenPart | null {
  const name = member(json, 'name');
  const fields = list(member(json, 'fields'), toField);
  const blocks = list(member(json, 'blocks'), toBlock);
  if (typeof name !== 'string' || fields === null || blocks === null) return null;
  return { name, version: number(json, 'version'), fields, blocks };
}

function toField(json: unknown): WrittenPart['fields'][number] | null {
  const name = member(json, 'name');
  const type = member(json, 'type');
  return typeof name === 'string' && isFieldType(type) ? { name, type, count: number(json, 'count') } : null;
}

function toBlock(json: unknown): WrittenPart['blocks'][number] | null {
  const name = member(json, 'name');
  return typeof name === 'string' ? { name, size: number(json, 'size') } : null;
}

/** A number, or NaN, which no range admits. */
function number(json: unknown, key: string): number {
  const value = member(json, key);
  return typeof value === 'number' ? value : Number.NaN;
}

function member(json: unknown, key: string): unknown {
  return typeof json === 'object' && json !== null && Object.hasOwn(json, key)
    ? Reflect.get(json, key)
    : undefined;
}

function list<T>(json: unknown, parse: (entry: unknown) => T | null): readonly T[] | null {
  if (!Array.isArray(json)) return null;
  const entries = json.map(parse).filter((entry) => entry !== null);
  return entries.length === json.length ? entries : null;
}
