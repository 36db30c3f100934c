import type { FakeDriver, FakeSession } from './fake-driver.ts';

/** Memory that was mapped for DMA: whoever reaches it after it was given up has found a hole. */
export class FakeMemory {
  given = true;
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** A device of the fake kernel. */
export interface FakeDevice {
  readonly name: string;
  readonly group: number;
  readonly driver: FakeDriver;
  /** Regions beyond the UART and its configuration space, by index: a v1 region. */
  readonly regions: Map<number, FakeRegion>;
  /** Every DEVICE_SET_IRQS: flags, index, start, count and what followed. */
  readonly irqs: (readonly [flags: number, index: number, start: number, count: number, content: string])[];
  readonly maps: Map<bigint, { size: bigint; memory: FakeMemory; flags: number }>;
  /** The descriptor of the iommufd to which it is bound; null: none. */
  iommufd: number | null;
}

/** A region whose accesses are functions. */
export interface FakeRegion {
  readonly size: number;
  /** The capability "type", if it has one. */
  readonly kind?: { readonly type: number; readonly subtype: number };
  read(offset: number, into: Uint8Array): number;
  write(offset: number, from: Uint8Array): number;
}

export type FakeFile =
  | { readonly kind: 'container'; readonly groups: number[]; tracking: boolean }
  | { readonly kind: 'iommu' }
  | { readonly kind: 'group'; readonly group: number }
  | { readonly kind: 'device'; readonly device: FakeDevice }
  | { readonly kind: 'session'; readonly device: FakeDevice; readonly session: FakeSession }
  | { readonly kind: 'memory'; readonly bytes: Uint8Array }
  /** A file of the machine, as a client sends one. */
  | { readonly kind: 'foreign' }
  | { readonly kind: 'eventfd' };
