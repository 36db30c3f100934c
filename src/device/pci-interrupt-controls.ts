import type { ConfigRegister, ConfigurationSpace } from './configuration-space.ts';
import { MsiControl, MsixControl } from './interrupt-capabilities.ts';
import type { InterruptControls } from './interrupt-controls.ts';
import { CommandBit, StatusBit } from './type0-header.ts';

/** The interrupt controls of a configuration space and an MSI-X table. In D3hot all are masked. */
export class PciInterruptControls implements InterruptControls {
  readonly #config: ConfigurationSpace;
  readonly #command: ConfigRegister;
  readonly #status: ConfigRegister;
  readonly #msi: ConfigRegister | null;
  readonly #msiMask: ConfigRegister | null;
  readonly #msix: ConfigRegister | null;
  readonly #tableMasked: (vector: number) => boolean;
  readonly #sleeping: () => boolean;

  /** `tableMasked` tells whether the MSI-X table masks a vector, `sleeping` whether the function is in D3hot. */
  constructor(config: ConfigurationSpace, tableMasked: (vector: number) => boolean, sleeping: () => boolean) {
    this.#config = config;
    this.#command = config.register('COMMAND');
    this.#status = config.register('STATUS');
    this.#msi = config.find('MSI.CONTROL');
    this.#msiMask = config.find('MSI.MASK');
    this.#msix = config.find('MSIX.CONTROL');
    this.#tableMasked = tableMasked;
    this.#sleeping = sleeping;
  }

  get intxDisabled(): boolean {
    return this.#sleeping() || this.#has(this.#command, CommandBit.INTX_DISABLE);
  }

  get msiEnabled(): boolean {
    return this.#has(this.#msi, MsiControl.ENABLE);
  }

  get msiAllocated(): number {
    if (this.#msi === null) return 0;
    return 1 << ((this.#config.get(this.#msi) & MsiControl.ALLOCATED_MASK) >> MsiControl.ALLOCATED_SHIFT);
  }

  msiMasked(vector: number): boolean {
    return this.#sleeping() || this.#has(this.#msiMask, 1 << vector);
  }

  get msixEnabled(): boolean {
    return this.#has(this.#msix, MsixControl.ENABLE);
  }

  get msixFunctionMasked(): boolean {
    return this.#sleeping() || this.#has(this.#msix, MsixControl.FUNCTION_MASK);
  }

  msixMasked(vector: number): boolean {
    return this.#tableMasked(vector);
  }

  levelChanged(asserted: boolean): void {
    const status = this.#config.get(this.#status);
    this.#config.set(this.#status, asserted ? status | StatusBit.INTERRUPT : status & ~StatusBit.INTERRUPT);
  }

  #has(register: ConfigRegister | null, bit: number): boolean {
    return register !== null && (this.#config.get(register) & bit) !== 0;
  }
}
