import type { Native } from '../../native/index.ts';
import {
  type DeviceImage,
  type ImageBlock,
  type ImageIdentity,
  type ImageSchema,
  requireSoundImage,
} from '../../stream/index.ts';
import type { StatePart } from './declared-state.ts';
import { DeclaredStateError } from './state-error.ts';

/** What {@link DeclaredImage} combines. */
export interface DeclaredImageOptions {
  readonly identity: ImageIdentity;
  /** The declared states, each with a part name of its own: the author's (empty) and the library's. */
  readonly states: readonly StatePart[];
}

/** The image of a device whose state is declared: several declared states, one behind the other, as one. */
export class DeclaredImage implements DeviceImage {
  readonly identity: ImageIdentity;
  readonly schema: ImageSchema;
  readonly blocks: readonly ImageBlock[];
  readonly #states: readonly StatePart[];

  /** Throws StreamError `ERR_STREAM_SCHEMA` for a declaration that could not be migrated, such as a name with a dot. */
  constructor({ identity, states }: DeclaredImageOptions) {
    this.identity = identity;
    this.#states = states;
    this.schema = { parts: states.map((state) => state.part) };
    this.blocks = states.flatMap((state) => state.blocks);
    requireSoundImage(this);
  }

  saveFields(): ReadonlyMap<string, Uint8Array> {
    return new Map(this.#states.flatMap((state) => [...state.save()]));
  }

  loadFields(values: ReadonlyMap<string, Uint8Array>, versions: ReadonlyMap<string, number>): void {
    for (const state of this.#states) {
      const version = versions.get(state.part.name);
      if (version === undefined) throw missingPart(state.part.name);
      state.load(values, version);
    }
  }

  /** Gives all memory blocks their memory. */
  materialize(native: Native | null): void {
    for (const state of this.#states) state.materialize(native);
  }

  /** Resets all states, but not the blocks of these names. */
  reset(besides?: ReadonlySet<string>): void {
    for (const state of this.#states) state.reset(besides);
  }

  /** Gives back the memory of all blocks. */
  close(): void {
    for (const state of this.#states) state.close();
  }
}

function missingPart(part: string): DeclaredStateError {
  return new DeclaredStateError('ERR_STATE_VALUE', `the state lacks part "${part}"`, { part });
}
