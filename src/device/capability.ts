import type { RegionCallbacks } from './callback-content.ts';
import type { ConfigRegister } from './configuration-space.ts';

/**
 * A capability of the configuration space. All offsets count from its start, where id and next pointer are (2 bytes,
 * or 4 in an extended one); these are added to it. What no register covers reads 0.
 */
export interface Capability {
  /** Such as `MSI`; its registers are called `MSI.CONTROL` and so on. Unique in the device. */
  readonly name: string;
  /** Capability id: 8 bits, or 16 of an extended one. */
  readonly id: number;
  /** Bytes, including id and next pointer. */
  readonly size: number;
  /** Layout, reset values and write masks. What they hold is part of the device's state. */
  readonly registers?: readonly ConfigRegister[];
  /**
   * Instead of registers: who answers for everything behind id and next pointer. Accesses have any size and alignment
   * inside of it. Whatever the callbacks keep belongs into the declared state.
   */
  readonly callbacks?: RegionCallbacks;
  /** Where it lies, a multiple of 4; by default where there is room. */
  readonly offset?: number;
}

/** A capability in the extended configuration space, from 0x100 on. */
export interface ExtendedCapability extends Capability {
  /** Capability version, 4 bits; 1 by default. */
  readonly version?: number;
}
