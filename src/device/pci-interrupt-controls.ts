import { MsiControl, MsixControl } from './capabilities.ts';
import type { ConfigRegister, ConfigurationSpace } from './configuration-space.ts';
import type { InterruptControls } from './interrupt-controller.ts';
import { CommandBit, StatusBit } from './type0-header.ts';

/** The interrupt controls of a configuration space and an MSI-X table. */
export class PciInterruptControls implements InterruptControls {
  readonly #config: ConfigurationSpace;
  readonly #command: ConfigRegister;
  readonly #status: ConfigRegister;
  readonly #msi: ConfigRegister | null;
  readonly #msiMask: ConfigRegister | null;
  readonly #msix: ConfigRegister | null;
  readonly #tableMasked: (vector: number) => boolean;

  /** `tableMasked` tells whether the MSI-X table masks a vector. */
  constructor(config: ConfigurationSpace, tableMasked: (vector: number) => boolean) {
    const find = (name: string) => config.registers.find((register) => register.name === name) ?? null;
    this.#config = config;
    this.#command = config.register('COMMAND');
    this.#status = config.register('STATUS');
    this.#msi = find('MSI.CONTROL');
    this.#msiMask = find('MSI.MASK');
    this.#msix = find('MSIX.CONTROL');
    this.#tableMasked = tableMasked;
  }

  get intxDisabled(): boolean {
    return this.#has(this.#command, CommandBit.INTX_DISABLE);
  }

  get msiEnabled(): boolean {
    return this.#has(this.#msi, MsiControl.ENABLE);
  }

  get msiAllocated(): number {
    if (this.#msi === null) return 0;
    return 1 << ((this.#config.get(this.#msi) & MsiControl.ALLOCATED_MASK) >> MsiControl.ALLOCATED_SHIFT);
  }

  msiMasked(vector: number): boolean {
    return this.#has(this.#msiMask, 1 << vector);
  }

  get msixEnabled(): boolean {
    return this.#has(this.#msix, MsixControl.ENABLE);
  }

  get msixFunctionMasked(): boolean {
    return this.#has(this.#msix, MsixControl.FUNCTION_MASK);
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
