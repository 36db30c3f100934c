import type { ConfigRegister, ConfigurationSpace } from './configuration-space.ts';
import { DeviceCapability, DeviceControl } from './express-capability.ts';
import { PowerControl, PowerState } from './power-management.ts';
import type { FunctionResetReason } from './reset-reason.ts';

/** Tells the writes to a configuration space that reset the function: Initiate FLR, and the end of D3hot. */
export class FunctionReset {
  readonly #config: ConfigurationSpace;
  readonly #deviceControl: ConfigRegister | null;
  readonly #power: ConfigRegister | null;

  constructor(config: ConfigurationSpace) {
    this.#config = config;
    const capabilities = config.find('EXPRESS.DEVICE_CAPABILITIES');
    const able =
      capabilities !== null && (config.get(capabilities) & DeviceCapability.FUNCTION_LEVEL_RESET) !== 0;
    this.#deviceControl = able ? config.find('EXPRESS.DEVICE_CONTROL') : null;
    this.#power = config.find('PM.CONTROL');
  }

  /** How writing `length` bytes of `source[at...]` at `offset` would reset the function now; null: not at all. */
  initiatedBy(offset: number, source: Uint8Array, at: number, length: number): FunctionResetReason | null {
    const written = (byte: number): number | undefined =>
      byte >= offset && byte < offset + length ? source[at + byte - offset] : undefined;
    if (this.#initiatesFlr(written)) return 'flr';
    return this.#wakes(written) ? 'power' : null;
  }

  #initiatesFlr(written: (byte: number) => number | undefined): boolean {
    if (this.#deviceControl === null) return false;
    const high = written(this.#deviceControl.offset + 1) ?? 0;
    return ((high << 8) & DeviceControl.INITIATE_FLR) !== 0;
  }

  /** From D3hot to D0 without No_Soft_Reset (PCI Power Management 1.2, section 5.4.1). */
  #wakes(written: (byte: number) => number | undefined): boolean {
    if (this.#power === null) return false;
    const control = this.#config.get(this.#power);
    const low = written(this.#power.offset);
    if (low === undefined || (control & PowerControl.NO_SOFT_RESET) !== 0) return false;
    return (
      (control & PowerControl.STATE) === PowerState.D3HOT && (low & PowerControl.STATE) === PowerState.D0
    );
  }
}
