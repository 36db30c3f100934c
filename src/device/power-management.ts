import type { Capability } from './capability.ts';
import type { ConfigurationSpace } from './configuration-space.ts';

/** Power management, where `true` does not say enough. */
export interface PowerManagementDeclaration {
  /**
   * No_Soft_Reset: coming back from D3hot to D0 keeps everything. True by default; with false the function is reset
   * on the way back, as by a device reset.
   */
  readonly noSoftReset?: boolean;
}

/** Power states in PMCSR (PCI Bus Power Management Interface Specification 1.2, section 3.2.4). */
export const PowerState = { D0: 0, D3HOT: 3 } as const;

/** PMCSR bits. */
export const PowerControl = { STATE: 3, NO_SOFT_RESET: 8 } as const;

/** Version 3 of the interface; no D1, no D2, no PME. */
const CAPABILITIES = 0x0003;

/** Power management (section 3.2). A power state that the function lacks is discarded when it is written. */
export function powerManagement({ noSoftReset = true }: PowerManagementDeclaration): Capability {
  return {
    name: 'PM',
    id: 0x01,
    size: 8,
    registers: [
      { name: 'CAPABILITIES', offset: 2, size: 2, reset: CAPABILITIES },
      {
        name: 'CONTROL',
        offset: 4,
        size: 2,
        reset: noSoftReset ? PowerControl.NO_SOFT_RESET : 0,
        writable: PowerControl.STATE,
        choices: { mask: PowerControl.STATE, values: Object.values(PowerState) },
      },
      { name: 'BRIDGE_EXTENSIONS', offset: 6, size: 1 },
      { name: 'DATA', offset: 7, size: 1 },
    ],
  };
}

/** Tells whether the function is in D3hot, where it decodes nothing, starts no DMA and interrupts nobody. */
export function sleeping(config: ConfigurationSpace): () => boolean {
  const control = config.find('PM.CONTROL');
  if (control === null) return () => false;
  return () => (config.get(control) & PowerControl.STATE) === PowerState.D3HOT;
}
