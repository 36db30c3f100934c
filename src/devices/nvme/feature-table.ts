import { IO_QUEUES } from './limits.ts';
import { FeatureId } from './opcodes.ts';

/** A feature (NVM Express 1.4, section 5.21.1). */
export interface Feature {
  readonly id: number;
  /** Its value after a reset. */
  readonly initial: number;
  /** The bits of command dword 11 that it takes; others are ignored. */
  readonly mask: number;
  /** Whether it belongs to the namespace rather than to the controller. */
  readonly perNamespace?: boolean;
}

/**
 * The features, each with one value. Only the volatile write cache and the asynchronous events change what the
 * controller does; the rest are wishes that it remembers, as the specification allows.
 */
export const FEATURES: readonly Feature[] = [
  { id: FeatureId.ARBITRATION, initial: 0x07, mask: 0xffffff07 },
  { id: FeatureId.POWER_MANAGEMENT, initial: 0, mask: 0xff },
  // Kelvin, and for what: the composite temperature is all there is. It never comes near.
  { id: FeatureId.TEMPERATURE_THRESHOLD, initial: 0x0157, mask: 0x003fffff },
  { id: FeatureId.ERROR_RECOVERY, initial: 0, mask: 0x0000ffff, perNamespace: true },
  { id: FeatureId.VOLATILE_WRITE_CACHE, initial: 1, mask: 1 },
  { id: FeatureId.NUMBER_OF_QUEUES, initial: ((IO_QUEUES - 1) << 16) | (IO_QUEUES - 1), mask: 0xffffffff },
  { id: FeatureId.INTERRUPT_COALESCING, initial: 0, mask: 0xffff },
  { id: FeatureId.INTERRUPT_VECTOR_CONFIGURATION, initial: 0, mask: 0x1ffff },
  { id: FeatureId.WRITE_ATOMICITY, initial: 0, mask: 1 },
  { id: FeatureId.ASYNCHRONOUS_EVENTS, initial: 0, mask: 0xff },
];

/** The place of a feature in {@link FEATURES}; -1 for one that the controller lacks. */
export function featureIndex(id: number): number {
  return FEATURES.findIndex((feature) => feature.id === id);
}
