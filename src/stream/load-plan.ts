import {
  type DeviceImage,
  type FieldSchema,
  type FieldType,
  fieldSize,
  type ImageBlock,
  type ImageIdentity,
  type ImagePart,
  qualifiedName,
} from './device-image.ts';
import type { ImageHeader } from './image-header.ts';
import { IDENTITY_LIMITS, type WrittenPart } from './schema.ts';
import { StreamError, type StreamErrorCode } from './stream-error.ts';

/** A field whose value comes in the FIELDS record. */
export interface PlannedField {
  /** The qualified name. */
  readonly name: string;
  readonly type: FieldType;
  /** Bytes. */
  readonly size: number;
}

/** How the records of a stream map to a device. */
export interface LoadPlan {
  /** The blocks by their number in the stream. */
  readonly blocks: readonly ImageBlock[];
  /** The fields in the order of their values. */
  readonly fields: readonly PlannedField[];
  /** The version that each part was written with. */
  readonly versions: ReadonlyMap<string, number>;
}

/** The part of an error that depends on what does not fit. */
type Refuse = (code: StreamErrorCode, why: string) => StreamError;

/**
 * Checks that a state fits a device and plans its loading: same identity; the same parts, each of a version that the
 * device can load; of each part exactly the fields and blocks that it had at that version.
 */
export function planLoading({ identity, parts }: ImageHeader, image: DeviceImage, offset: number): LoadPlan {
  const refuse: Refuse = (code, why) => new StreamError(code, `this state cannot be loaded: ${why}`, offset);
  requireSameIdentity(identity, image.identity, refuse);
  requireSameParts(parts, image.schema.parts, refuse);
  const blocks = new Map(image.blocks.map((block) => [block.name, block]));
  return {
    blocks: parts.flatMap((part) => part.blocks.map((block) => find(blocks, part, block.name, refuse))),
    fields: parts.flatMap((part) =>
      part.fields.map((field) => ({
        name: qualifiedName(part.name, field.name),
        type: field.type,
        size: fieldSize(field),
      })),
    ),
    versions: new Map(parts.map((part) => [part.name, part.version])),
  };
}

function requireSameIdentity(written: ImageIdentity, ours: ImageIdentity, refuse: Refuse): void {
  const different = differences(written, ours);
  if (different.length === 0) return;
  throw refuse(
    'ERR_STREAM_IDENTITY',
    `it was written by another device (${different.join(', ')}); load it into one of the same kind and ids`,
  );
}

function differences(written: ImageIdentity, ours: ImageIdentity): readonly string[] {
  const kind = written.kind === ours.kind ? [] : [`kind ${written.kind}, here ${ours.kind}`];
  const numbers = Object.keys(IDENTITY_LIMITS).flatMap((key) => {
    const [theirs, here] = [Reflect.get(written, key), Reflect.get(ours, key)];
    return theirs === here ? [] : [`${key} ${hex(theirs)}, here ${hex(here)}`];
  });
  return [...kind, ...numbers];
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function requireSameParts(written: readonly WrittenPart[], ours: readonly ImagePart[], refuse: Refuse): void {
  const known = new Map(ours.map((part) => [part.name, part]));
  for (const part of written) {
    const our = known.get(part.name);
    if (our === undefined)
      throw refuse('ERR_STREAM_SCHEMA', `it has ${label(part)}, which this device lacks`);
    requireVersion(part, our, refuse);
    requireSameFields(part, our, refuse);
    requireSameBlocks(part, our, refuse);
  }
  const names = new Set(written.map((part) => part.name));
  const missing = ours.find((part) => !names.has(part.name));
  if (missing !== undefined) throw refuse('ERR_STREAM_SCHEMA', `it lacks ${label(missing)}`);
}

function requireVersion(part: WrittenPart, ours: ImagePart, refuse: Refuse): void {
  if (part.version > ours.version) {
    throw refuse(
      'ERR_STREAM_VERSION',
      `${label(part)} has version ${part.version} and this device knows ${ours.oldest} to ${ours.version}; update the destination`,
    );
  }
  if (part.version < ours.oldest) {
    throw refuse(
      'ERR_STREAM_VERSION',
      `${label(part)} has version ${part.version}, older than the ${ours.oldest} that this device can still load; go through a version between`,
    );
  }
}

function requireSameFields(part: WrittenPart, ours: ImagePart, refuse: Refuse): void {
  const written = part.fields.map((field) => ({ name: field.name, what: describe(field) }));
  const expected = ours.fields
    .filter((field) => field.since <= part.version)
    .map((field) => ({ name: field.name, what: describe(field) }));
  requireSame('field', part, written, expected, refuse);
}

function requireSameBlocks(part: WrittenPart, ours: ImagePart, refuse: Refuse): void {
  const written = part.blocks.map(({ name, size }) => ({ name, what: `${size} bytes` }));
  const expected = ours.blocks
    .filter((block) => block.since <= part.version)
    .map(({ name, size }) => ({ name, what: `${size} bytes` }));
  requireSame('block', part, written, expected, refuse);
}

/** A field or block, and its type or size in words. */
interface Described {
  readonly name: string;
  readonly what: string;
}

function requireSame(
  sort: 'field' | 'block',
  part: WrittenPart,
  written: readonly Described[],
  expected: readonly Described[],
  refuse: Refuse,
): void {
  const ours = new Map(expected.map(({ name, what }) => [name, what]));
  for (const { name, what } of written) {
    const here = ours.get(name);
    const text = `${sort} ${qualifiedName(part.name, name)}`;
    if (here === undefined) {
      throw refuse('ERR_STREAM_SCHEMA', `${text} is unknown to this device's state version ${part.version}`);
    }
    if (here !== what) throw refuse('ERR_STREAM_SCHEMA', `${text} is ${what}, here ${here}`);
    ours.delete(name);
  }
  const [missing] = ours.keys();
  if (missing === undefined) return;
  const text = `${sort} ${qualifiedName(part.name, missing)}`;
  throw refuse('ERR_STREAM_SCHEMA', `${text} is missing, though state version ${part.version} has it`);
}

function find(
  blocks: ReadonlyMap<string, ImageBlock>,
  part: WrittenPart,
  name: string,
  refuse: Refuse,
): ImageBlock {
  const qualified = qualifiedName(part.name, name);
  const block = blocks.get(qualified);
  if (block !== undefined) return block;
  throw refuse('ERR_STREAM_SCHEMA', `the device declares block ${qualified} but has none of that name`);
}

function label(part: { readonly name: string }): string {
  return part.name === '' ? "the device's state" : `part "${part.name}"`;
}

function describe({ type, count }: Pick<FieldSchema, 'type' | 'count'>): string {
  return count === 1 && type !== 'bytes' ? type : `${type}[${count}]`;
}
