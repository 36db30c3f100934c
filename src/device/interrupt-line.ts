import { IrqIndex, IrqInfoFlag } from '../protocol/index.ts';

/** Signals one vector to the client: in practice, a write to an eventfd. */
export type Trigger = () => void;

/** One of the indices. */
export type IrqNumber = (typeof IrqIndex)[keyof typeof IrqIndex];

/** What GET_IRQ_INFO says of an index. */
export interface IrqDescription {
  /** Vectors; 0 when the device has none of the kind. */
  readonly count: number;
  /** VFIO_IRQ_INFO_* bits. */
  readonly flags: number;
}

/**
 * What each kind of interrupt can do. None has NORESIZE: triggers can be added to MSI and MSI-X at any time. INTx is
 * a level, so it is masked after each signal until the client has served it.
 */
const FLAGS: Readonly<Record<IrqNumber, number>> = {
  [IrqIndex.INTX]: IrqInfoFlag.EVENTFD | IrqInfoFlag.MASKABLE | IrqInfoFlag.AUTOMASKED,
  [IrqIndex.MSI]: IrqInfoFlag.EVENTFD | IrqInfoFlag.MASKABLE,
  [IrqIndex.MSIX]: IrqInfoFlag.EVENTFD | IrqInfoFlag.MASKABLE,
  [IrqIndex.ERR]: IrqInfoFlag.EVENTFD,
  [IrqIndex.REQ]: IrqInfoFlag.EVENTFD,
};

/** The vectors of one interrupt index: what the device wants to signal, and what the client gave to do so. */
export class InterruptLine {
  readonly index: IrqNumber;
  readonly count: number;
  readonly flags: number;
  /** 1 where a vector waits to be signalled. Device state, except for ERR and REQ. */
  readonly pending: Uint8Array;
  /** 1 where the client masked a vector with SET_IRQS, or INTx masked itself. Owned by the main connection. */
  readonly masked: Uint8Array;
  /** Owned by the main connection. */
  readonly triggers: (Trigger | null)[];
  /** The client has set triggers (even empty ones) and not disabled the index since. */
  enabled = false;

  constructor(index: IrqNumber, count: number) {
    this.index = index;
    this.count = count;
    this.flags = FLAGS[index];
    this.pending = new Uint8Array(count);
    this.masked = new Uint8Array(count);
    this.triggers = new Array<Trigger | null>(count).fill(null);
  }

  /** Drops what the client gave. */
  release(): void {
    this.triggers.fill(null);
    this.masked.fill(0);
    this.enabled = false;
  }

  /** The vectors that wait, ascending. */
  pendingVectors(): number[] {
    const vectors: number[] = [];
    for (let vector = 0; vector < this.count; vector++) {
      if (this.pending[vector] === 1) vectors.push(vector);
    }
    return vectors;
  }

  /** Eight vectors, as the PBA shows those that wait: vector `8 * byte` is bit 0. */
  pendingByte(byte: number): number {
    let bits = 0;
    for (let bit = 0; bit < 8; bit++) bits |= (this.pending[byte * 8 + bit] ?? 0) << bit;
    return bits;
  }

  /** Takes over which vectors wait, one bit for each. */
  restorePending(bits: Uint8Array): void {
    for (let vector = 0; vector < this.count; vector++) {
      this.pending[vector] = ((bits[vector >> 3] ?? 0) >> (vector & 7)) & 1;
    }
  }
}
