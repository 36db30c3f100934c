import type { Native } from '../../native/index.ts';
import { fieldSize, type ImagePart, qualifiedName } from '../../stream/index.ts';
import type { ArrayDeclaration, MemoryDeclaration, ScalarDeclaration } from './declarations.ts';
import { MemoryBlock } from './memory-block.ts';
import { type NamedField, PackedFields } from './packed-fields.ts';
import { DeclaredStateError } from './state-error.ts';

/** What a device's state consists of: names and declarations. */
export type StateShape = Readonly<
  Record<string, ScalarDeclaration<number | bigint | boolean> | ArrayDeclaration<unknown> | MemoryDeclaration>
>;

/** The live object of a shape: single values are assigned, views and memory blocks are filled. */
export type LiveState<S extends StateShape> = {
  -readonly [K in keyof S as S[K] extends ScalarDeclaration<unknown>
    ? K
    : never]: S[K] extends ScalarDeclaration<infer V> ? V : never;
} & {
  readonly [K in keyof S as S[K] extends ScalarDeclaration<unknown>
    ? never
    : K]: S[K] extends ArrayDeclaration<infer V> ? V : MemoryBlock;
};

/** Options of {@link declareState}. */
export interface StateOptions<S extends StateShape> {
  /** The version of this shape, 1 by default. Raise it with every field that is added, and say `since` there. */
  readonly version?: number;
  /** The oldest version that can still be loaded, 1 by default. */
  readonly oldest?: number;
  /**
   * Completes a state that an older version wrote: what is younger than `from` has its initial value, everything
   * else is loaded. A throw refuses the state.
   */
  readonly upgrade?: (state: LiveState<S>, from: number) => void;
  /** The part of the device's state that this is; empty (the default) for the device's author. */
  readonly part?: string;
}

/** One declared state as a part of a {@link DeclaredImage}, whatever its shape. */
export interface StatePart {
  /** The schema of this part. */
  readonly part: ImagePart;
  /** The memory blocks, in the order of their declaration. */
  readonly blocks: readonly MemoryBlock[];
  /** Gives the memory blocks their memory, see {@link MemoryBlock.materialize}. */
  materialize(native: Native | null): void;
  /** Gives every field its initial value and clears the memory blocks that are not kept, but not those of these names. */
  reset(besides?: ReadonlySet<string>): void;
  /** The values of the fields by qualified name, little-endian. */
  save(): Iterable<readonly [name: string, value: Uint8Array]>;
  /** Takes over values that version `from` of this part wrote; what is younger is reset. All or nothing. */
  load(values: ReadonlyMap<string, Uint8Array>, from: number): void;
  /** Gives back the memory of the blocks. */
  close(): void;
}

/** A declared state: the live object for the author, and what the library needs to save, load and reset it. */
export class DeclaredState<S extends StateShape> implements StatePart {
  /** What the author works with. */
  readonly state: LiveState<S>;
  readonly part: ImagePart;
  readonly blocks: readonly MemoryBlock[];
  readonly #fields: PackedFields;
  readonly #upgrade: ((from: number) => void) | null;

  constructor(shape: S, options: StateOptions<S> = {}) {
    const { part = '', version = 1, oldest = 1, upgrade } = options;
    this.#fields = new PackedFields(fieldsOf(shape));
    const { live } = this.#fields;
    this.blocks = blocksOf(shape, part);
    for (const block of this.blocks)
      Object.defineProperty(live, block.key, { enumerable: true, value: block });
    // Its properties are defined just above from the same shape; TypeScript cannot follow a property at a time.
    this.state = Object.preventExtensions(live) as LiveState<S>;
    this.#upgrade = upgrade === undefined ? null : (from) => upgrade(this.state, from);
    const blocks = this.blocks.map(({ key, size, since }) => ({ name: key, size, since }));
    this.part = { name: part, version, oldest, fields: this.#fields.schemas, blocks };
  }

  materialize(native: Native | null): void {
    for (const block of this.blocks) block.materialize(native);
  }

  reset(besides?: ReadonlySet<string>): void {
    this.#fields.reset();
    for (const block of this.blocks) if (besides?.has(block.name) !== true) block.reset();
  }

  *save(): Iterable<readonly [name: string, value: Uint8Array]> {
    for (const [name, value] of this.#fields.save()) yield [qualifiedName(this.part.name, name), value];
  }

  load(values: ReadonlyMap<string, Uint8Array>, from: number): void {
    const lookup = (name: string) => values.get(qualifiedName(this.part.name, name));
    for (const field of this.part.fields) {
      if (lookup(field.name)?.length !== (field.since > from ? undefined : fieldSize(field))) {
        const name = qualifiedName(this.part.name, field.name);
        throw new DeclaredStateError(
          'ERR_STATE_VALUE',
          `field ${name} of state version ${from}: ${fieldSize(field)} bytes since version ${field.since}, got ${values.get(name)?.length ?? 'none'}`,
          { field: name, version: from },
        );
      }
    }
    this.#fields.load(lookup);
    for (const block of this.blocks) if (block.since > from) block.fill(0);
    if (from < this.part.version) this.#upgrade?.(from);
  }

  close(): void {
    for (const block of this.blocks) block.close();
  }
}

/**
 * Declares the state of a device: what migrates, what a reset restores.
 *
 *     const declared = declareState({ ticks: u32(), scratch: memory(65536) });
 *     declared.state.ticks += 1;
 *
 * Throws {@link DeclaredStateError} for a declaration that makes no sense.
 */
export function declareState<const S extends StateShape>(
  shape: S,
  options: StateOptions<S> = {},
): DeclaredState<S> {
  return new DeclaredState(shape, options);
}

function fieldsOf(shape: StateShape): readonly NamedField[] {
  return Object.entries(shape).flatMap(([name, declaration]) =>
    declaration.kind === 'memory' ? [] : [{ name, declaration }],
  );
}

function blocksOf(shape: StateShape, part: string): readonly MemoryBlock[] {
  return Object.entries(shape).flatMap(([name, declaration]) =>
    declaration.kind === 'memory' ? [new MemoryBlock(name, declaration, part)] : [],
  );
}
