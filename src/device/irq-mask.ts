import { IrqIndex } from '../protocol/index.ts';

/** A client has masked vectors by SET_IRQS, or unmasked them. */
export interface IrqMaskChange {
  readonly kind: 'intx' | 'msi' | 'msix';
  /** The first vector. */
  readonly start: number;
  /** How many vectors; at least 1. */
  readonly count: number;
  readonly masked: boolean;
}

/** The kinds that can be masked, by index. */
export const MASKABLE_KINDS: ReadonlyMap<number, IrqMaskChange['kind']> = new Map([
  [IrqIndex.INTX, 'intx'],
  [IrqIndex.MSI, 'msi'],
  [IrqIndex.MSIX, 'msix'],
]);
