import { disconnectFaults, hostileFaults, leaksFaults, timeoutsFaults } from './clients.ts';
import { capabilityFaults, dmaFaults, infoFaults, irqFaults, regionFaults } from './device.ts';
import { deviceDmaFaults, loggingFaults } from './device-dma.ts';
import type { Fault } from './fault.ts';
import { firstWordsFaults, twinFaults } from './first-words.ts';
import { framingFaults } from './framing.ts';
import { leftInStateFaults, resetFaults } from './left-behind.ts';
import { dataFaults, featureFaults, moveFaults, statesFaults } from './migration.ts';

/** Every fault that is planted. */
export const FAULTS: readonly Fault[] = [
  ...firstWordsFaults,
  ...framingFaults,
  ...infoFaults,
  ...capabilityFaults,
  ...regionFaults,
  ...irqFaults,
  ...dmaFaults,
  ...twinFaults,
  ...deviceDmaFaults,
  ...featureFaults,
  ...loggingFaults,
  ...statesFaults,
  ...dataFaults,
  ...moveFaults,
  ...resetFaults,
  ...disconnectFaults,
  ...leftInStateFaults,
  ...leaksFaults,
  ...hostileFaults,
  ...timeoutsFaults,
];
