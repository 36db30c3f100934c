/** Who a device is to its guest. A state is loaded only into a device that is the same in all of these. */
export interface ImageIdentity {
  /** What sort of device it is, such as `edu`; 1 to 64 printable ASCII characters. */
  readonly kind: string;
  /** PCI vendor id, 16 bits. */
  readonly vendor: number;
  /** PCI device id, 16 bits. */
  readonly device: number;
  readonly subsystemVendor: number;
  readonly subsystemDevice: number;
  /** PCI revision id, 8 bits. */
  readonly revision: number;
  /** PCI class, subclass and programming interface, 24 bits. */
  readonly classCode: number;
}

/** The types a field can have. `bytes` has `count` bytes, the others `count` elements; `bool` is one byte, 0 or 1. */
export type FieldType = 'u8' | 'u16' | 'u32' | 'u64' | 'bool' | 'bytes';

/** Bytes of one element of a field. */
export const ELEMENT_SIZE: Readonly<Record<FieldType, number>> = {
  u8: 1,
  u16: 2,
  u32: 4,
  u64: 8,
  bool: 1,
  bytes: 1,
};

/** One field of a device's state. */
export interface FieldSchema {
  /** Unique within its part; 1 to 64 characters of `[A-Za-z0-9_]`. */
  readonly name: string;
  readonly type: FieldType;
  /** Elements, or bytes of `bytes`; at least 1. */
  readonly count: number;
  /** The first version of the part's state that has it. */
  readonly since: number;
}

/** One memory block of a device's state. */
export interface BlockSchema {
  /** Unique within its part, fields included; 1 to 64 characters of `[A-Za-z0-9_]`. */
  readonly name: string;
  /** Bytes: a positive multiple of {@link PAGE_SIZE}. */
  readonly size: number;
  /** The first version of the part's state that has it. */
  readonly since: number;
}

/**
 * A part of a device's state that has versions of its own. What the device's author declares is the part with the
 * empty name; the library adds its own (`pci`: configuration space, interrupts) next to it, and the two can grow
 * without knowing of each other.
 */
export interface ImagePart {
  /** Empty for the author's; otherwise `[a-z0-9]`, up to 16 characters. */
  readonly name: string;
  /** Version of the state that is written, 1 or more. */
  readonly version: number;
  /** The oldest version that can be loaded, 1 to `version`. */
  readonly oldest: number;
  readonly fields: readonly FieldSchema[];
  readonly blocks: readonly BlockSchema[];
}

/** All that a state consists of. Names of parts are unique. */
export interface ImageSchema {
  readonly parts: readonly ImagePart[];
}

/** Bytes that a field's value takes. */
export function fieldSize(field: Pick<FieldSchema, 'type' | 'count'>): number {
  return ELEMENT_SIZE[field.type] * field.count;
}

/** The granularity in which blocks are tracked and sent, in bytes. It is part of the format, not the host's page size. */
export const PAGE_SIZE = 4096;

/** The name of a field or block outside its part: `ticks` of the author, `pci.command` of the library. */
export function qualifiedName(part: string, name: string): string {
  return part === '' ? name : `${part}.${name}`;
}

/** A range of a block that has to be sent. */
export interface DirtyRun {
  /** A multiple of {@link PAGE_SIZE}. */
  readonly offset: number;
  /** Bytes; a positive multiple of {@link PAGE_SIZE}. */
  readonly length: number;
  /**
   * What to send, `length` bytes, or null when all of them are zero. Valid until the next call of `takeDirty`. It may
   * change until it is copied only if every such change makes its page dirty again; memory that somebody writes
   * unseen must be handed out as a snapshot.
   */
  readonly bytes: Uint8Array | null;
}

/** A memory block of a device, as the stream sees it. */
export interface ImageBlock {
  /** The {@link qualifiedName}. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** The memory itself, `size` bytes; the reader writes into it. */
  readonly bytes: Uint8Array;
  /** From now on know what changes. Everything counts as dirty at first. */
  track(): void;
  /** Ends {@link track} and gives up what it needed. Harmless when not tracking. */
  untrack(): void;
  /** Finds writes that nobody reported (client mappings) by comparing with what was sent. */
  refresh(): void;
  /** Bytes known to be dirty; 0 when not tracking. */
  readonly dirtyBytes: number;
  /**
   * The next dirty run of at most `limit` bytes (a multiple of {@link PAGE_SIZE}), which is clean afterwards; null
   * when there is none. Runs come in ascending order from the start of the block, and start over after its end.
   */
  takeDirty(limit: number): DirtyRun | null;
  /** The reader has written `length` bytes at `offset`. */
  loaded(offset: number, length: number): void;
}

/** A device whose state can be written and read. */
export interface DeviceImage {
  readonly identity: ImageIdentity;
  readonly schema: ImageSchema;
  /** All blocks of all parts, in the schema's order. */
  readonly blocks: readonly ImageBlock[];
  /** The values of all fields by {@link qualifiedName}: elements little-endian and packed, whatever the host is. */
  saveFields(): ReadonlyMap<string, Uint8Array>;
  /**
   * Takes over the values of a state whose parts have these `versions`. Fields (and blocks) that are younger than
   * their part's version are absent and get their reset value. Called once everything, values included, has been
   * verified; applies all at once. A throw refuses the state.
   */
  loadFields(values: ReadonlyMap<string, Uint8Array>, versions: ReadonlyMap<string, number>): void;
}
