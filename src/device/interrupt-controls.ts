/** How many vectors of each kind a device has. */
export interface InterruptCounts {
  readonly intx: 0 | 1;
  /** 0 to 32. */
  readonly msi: number;
  /** 0 to 2048. */
  readonly msix: number;
}

/** What the guest has set in the configuration space and the MSI-X table. Read at every delivery. */
export interface InterruptControls {
  /** COMMAND.INTx Disable. */
  readonly intxDisabled: boolean;
  readonly msiEnabled: boolean;
  /** Messages that the driver has allocated, a power of two. */
  readonly msiAllocated: number;
  msiMasked(vector: number): boolean;
  readonly msixEnabled: boolean;
  /** Function Mask in the MSI-X control word. */
  readonly msixFunctionMasked: boolean;
  /** The mask bit of a table entry that the client has written; an untouched entry is not masked. */
  msixMasked(vector: number): boolean;
  /** STATUS.Interrupt Status follows the level. */
  levelChanged(asserted: boolean): void;
}
