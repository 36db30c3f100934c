import type { Native } from '../native/index.ts';
import { IrqIndex } from '../protocol/index.ts';
import type { DeviceImage, ImageIdentity, ImageSchema } from '../stream/index.ts';
import type { Blueprint } from './blueprint.ts';
import { type ConfigurationSpace, resetBytes } from './configuration-space.ts';
import type { InterruptController } from './interrupt-controller.ts';
import { resetTable } from './msix-table.ts';
import { bool, bytes, DeclaredImage, declareState, type StatePart } from './state/index.ts';

/** The state that every PCI device has, as the part `pci` of its image. */
export type PciState = ReturnType<typeof declarePciState>;

/** Declares configuration space, MSI-X table and what is pending. A device without MSI-X has one empty vector. */
export function declarePciState({ config, counts }: Blueprint) {
  const vectors = Math.max(counts.msix, 1);
  return declareState(
    {
      config: bytes(config.size, { initial: resetBytes(config) }),
      intxLevel: bool(),
      msiPending: bytes(4),
      msixPending: bytes(Math.ceil(vectors / 8)),
      msixTable: bytes(vectors * 16, { initial: resetTable(vectors) }),
      msixWritten: bytes(vectors),
    },
    { part: 'pci' },
  );
}

/** Everything of a PCI device that migrates: what its author declared, and {@link PciState}. */
export class PciImage implements DeviceImage {
  readonly identity: ImageIdentity;
  readonly #declared: DeclaredImage;
  readonly #pci: PciState;
  readonly #config: ConfigurationSpace;
  readonly #interrupts: InterruptController;
  readonly #restored: () => void;

  /** `restored` is called when a state has been loaded. */
  constructor(
    identity: ImageIdentity,
    author: StatePart | null,
    pci: PciState,
    {
      config,
      interrupts,
      restored,
    }: {
      readonly config: ConfigurationSpace;
      readonly interrupts: InterruptController;
      readonly restored: () => void;
    },
  ) {
    this.identity = identity;
    this.#declared = new DeclaredImage({ identity, states: author === null ? [pci] : [author, pci] });
    this.#pci = pci;
    this.#config = config;
    this.#interrupts = interrupts;
    this.#restored = restored;
  }

  get schema(): ImageSchema {
    return this.#declared.schema;
  }

  get blocks(): DeclaredImage['blocks'] {
    return this.#declared.blocks;
  }

  saveFields(): ReadonlyMap<string, Uint8Array> {
    const { state } = this.#pci;
    state.intxLevel = this.#interrupts.level;
    for (let i = 0; i < state.msiPending.length; i++) {
      state.msiPending[i] = this.#interrupts.pendingByte(IrqIndex.MSI, i);
    }
    for (let i = 0; i < state.msixPending.length; i++) {
      state.msixPending[i] = this.#interrupts.pendingByte(IrqIndex.MSIX, i);
    }
    return this.#declared.saveFields();
  }

  loadFields(values: ReadonlyMap<string, Uint8Array>, versions: ReadonlyMap<string, number>): void {
    const config = values.get('pci.config');
    if (config !== undefined) this.#config.checkLoadable(config);
    this.#declared.loadFields(values, versions);
    const { intxLevel, msiPending, msixPending } = this.#pci.state;
    this.#interrupts.restore(intxLevel, msiPending, msixPending);
    this.#restored();
  }

  /** Gives the memory blocks their memory. */
  materialize(native: Native): void {
    this.#declared.materialize(native);
  }

  /** Gives every field its initial value, in both parts, and clears the blocks but those of these names. */
  reset(besides?: ReadonlySet<string>): void {
    this.#declared.reset(besides);
  }

  /** Gives back the memory. */
  close(): void {
    this.#declared.close();
  }
}
