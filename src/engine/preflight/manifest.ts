import type { Json } from '../../protocol/index.ts';
import type { ConfigurationNeed, EndInspection } from '../migration-end.ts';

/** One device, as its side describes it to the other. */
export interface ManifestDevice {
  readonly name: string;
  /** MigrationFlag bits; null when it can't migrate. */
  readonly flags: number | null;
  /** The number of its state. */
  readonly state: number;
  /** What has to be equal on both sides; null when it does not say. */
  readonly identity: EndInspection['identity'];
  /** Why it can't take part now; null when it can. */
  readonly busy: string | null;
  readonly backEnds: readonly string[];
  /** The longest piece that it gives or takes, in bytes; absent where the sizes of pieces do not matter. */
  readonly largestPiece?: number;
  /** Which device it is whatever its name, as 16 hex digits; zeros: unknown. */
  readonly instance: string;
  /** How its configuration space has to travel; null: it does not. */
  readonly configuration: ConfigurationNeed | null;
  /** Its server keeps others off a device that is being moved. */
  readonly claims: boolean;
}

/** What moves, or what it is to move to. */
export interface Manifest {
  readonly devices: readonly ManifestDevice[];
  /** Sizes of the regions of guest memory, in bytes; empty when the memory is not moved with the devices. */
  readonly memory: readonly number[];
  /** The guest does not run and is not to run afterwards. */
  readonly paused: boolean;
  /** Its owner insists, although the devices can't be stopped without risk. */
  readonly force: boolean;
}

/** The most devices of a group. */
export const MAX_DEVICES = 256;

const MAX_TEXT = 4096;
const MAX_ENTRIES = 1024;

/** A manifest as the channel carries it. */
export function manifestToJson({ devices, memory, paused, force }: Manifest): Json {
  return {
    devices: devices.map((device) => ({
      ...device,
      identity: { ...device.identity },
      backEnds: [...device.backEnds],
    })),
    memory: [...memory],
    paused,
    force,
  };
}

/** A manifest that the other side sent; null when it is none. Nothing in it is believed before. */
export function manifestFromJson(json: Json): Manifest | null {
  const fields = objectOf(json);
  const devices = listOf(fields?.['devices'], MAX_DEVICES, deviceFromJson);
  const memory = listOf(fields?.['memory'], MAX_ENTRIES, sizeOf);
  const [paused, force] = [fields?.['paused'], fields?.['force']];
  if (devices === null || devices.length === 0 || memory === null) return null;
  if (typeof paused !== 'boolean' || typeof force !== 'boolean') return null;
  return { devices, memory, paused, force };
}

function deviceFromJson(json: Json | undefined): ManifestDevice | null {
  const fields = objectOf(json);
  if (fields === null) return null;
  const { name, flags, state, busy, instance, configuration, claims } = fields;
  const backEnds = listOf(fields['backEnds'], MAX_ENTRIES, textOf);
  const identity = identityOf(fields['identity']);
  const { largestPiece } = fields;
  if (largestPiece !== undefined && !isCount(largestPiece)) return null;
  if (textOf(name) === null || backEnds === null || identity === undefined) return null;
  if (flags !== null && !isCount(flags)) return null;
  if (!isCount(state) || (busy !== null && textOf(busy) === null)) return null;
  if (typeof instance !== 'string' || !/^[0-9a-f]{16}$/.test(instance)) return null;
  if (typeof claims !== 'boolean' || !isNeed(configuration)) return null;
  return {
    name: String(name),
    flags: flags === null ? null : Number(flags),
    state: Number(state),
    identity,
    busy: textOf(busy),
    backEnds,
    ...(largestPiece === undefined ? {} : { largestPiece: Number(largestPiece) }),
    instance,
    configuration,
    claims,
  };
}

/** Undefined when it is none. */
function identityOf(json: Json | undefined): EndInspection['identity'] | undefined {
  if (json === null) return null;
  const fields = objectOf(json);
  const entries = fields === null ? [] : Object.entries(fields);
  if (fields === null || entries.length > MAX_ENTRIES) return undefined;
  const identity: Record<string, string | number> = {};
  for (const [name, value] of entries) {
    if (name.length > MAX_TEXT || (textOf(value) === null && typeof value !== 'number')) return undefined;
    identity[name] = typeof value === 'number' ? value : String(value);
  }
  return identity;
}

function isNeed(json: Json | undefined): json is ConfigurationNeed | null {
  return json === null || json === 'none' || json === 'ahead' || json === 'every-time';
}

function isCount(json: Json | undefined): boolean {
  return typeof json === 'number' && Number.isSafeInteger(json) && json >= 0;
}

function sizeOf(json: Json | undefined): number | null {
  return isCount(json) ? Number(json) : null;
}

function textOf(json: Json | undefined): string | null {
  return typeof json === 'string' && json.length <= MAX_TEXT ? json : null;
}

/** The fields of an object; null when it is none. */
export function objectOf(json: Json | undefined): Readonly<Record<string, Json | undefined>> | null {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return null;
  return Object.fromEntries(Object.entries(json));
}

/** A list of what `parse` takes; null when it is none, too long, or has something else in it. */
export function listOf<T>(
  json: Json | undefined,
  max: number,
  parse: (item: Json | undefined) => T | null,
): readonly T[] | null {
  if (!Array.isArray(json) || json.length > max) return null;
  const items: T[] = [];
  for (const item of json) {
    const parsed = parse(item);
    if (parsed === null) return null;
    items.push(parsed);
  }
  return items;
}
