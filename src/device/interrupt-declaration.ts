/** MSI, where one number does not say enough. */
export interface MsiDeclaration {
  /** Messages: 1, 2, 4, 8, 16 or 32. */
  readonly vectors: number;
  /** 64-bit message address; true by default. */
  readonly address64?: boolean;
  /** Per-vector mask and pending bits; false by default. */
  readonly maskable?: boolean;
}

/** MSI-X, where one number does not say enough. */
export interface MsixDeclaration {
  /** 1 to 2048. */
  readonly vectors: number;
  /**
   * The index of the memory BAR that holds table and PBA, on top of whatever it has there. By default a BAR of its own is added at
   * the first free index.
   */
  readonly bar?: number;
  /** Offset of the table in the BAR, a multiple of 8; 0 by default. It has 16 bytes for each vector. */
  readonly table?: number;
  /** Offset of the pending bits, a multiple of 8; by default right behind the table. 8 bytes for each 64 vectors. */
  readonly pba?: number;
}

/** Which interrupts a device has; one that is not named is absent. */
export interface InterruptDeclaration {
  readonly intx?: boolean;
  /** Messages, or more precisely. */
  readonly msi?: number | MsiDeclaration;
  /** Vectors, or more precisely. */
  readonly msix?: number | MsixDeclaration;
}
