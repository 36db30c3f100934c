import { IrqIndex, RegionIndex } from '../../protocol/index.ts';
import { MigrationFlag } from '../../states/index.ts';

/** The name of a region of a PCI device: `BAR0`, `CONFIG`; its number beyond those that VFIO names. */
export function regionName(index: number): string {
  return nameIn(RegionIndex, index) ?? `region ${index}`;
}

/** The name of an interrupt index of a PCI device: `INTX`, `MSIX`. */
export function irqName(index: number): string {
  return nameIn(IrqIndex, index) ?? `interrupt ${index}`;
}

/** The names of migration flags; bits that this version does not know as hexadecimal. */
export function migrationFlagNames(flags: bigint): string[] {
  let unknown = flags;
  const names: string[] = [];
  for (const [name, bit] of Object.entries(MigrationFlag)) {
    if ((flags & BigInt(bit)) === 0n) continue;
    names.push(name);
    unknown &= ~BigInt(bit);
  }
  return unknown === 0n ? names : [...names, `0x${unknown.toString(16)}`];
}

function nameIn(names: Readonly<Record<string, number>>, wanted: number): string | undefined {
  return Object.entries(names).find(([, value]) => value === wanted)?.[0];
}
