import type { Bar, Bars } from './bar.ts';
import { checkBars } from './bar-rules.ts';
import { drawCapabilities } from './capability-set.ts';
import { configSizeOf } from './config-size.ts';
import type { ConfigLayout } from './configuration-space.ts';
import { wrongDeclaration } from './declaration-error.ts';
import type { DeviceOptions } from './device-options.ts';
import { paddedRom } from './expansion-rom.ts';
import type { InterruptCounts } from './interrupt-controls.ts';
import type { InterruptDeclaration, MsiDeclaration, MsixDeclaration } from './interrupt-declaration.ts';
import { type MsixPlacement, placeMsix } from './msix-placement.ts';
import type { PciIdentity } from './pci-identity.ts';
import { type0Header } from './type0-header.ts';
import { vgaRegion } from './vga.ts';

/** What an author declares. */
export interface DeviceDeclaration {
  readonly identity: PciIdentity;
  readonly bars: Bars;
  readonly interrupts: InterruptDeclaration;
  readonly options: DeviceOptions;
}

/** A device's declarations, checked and complete. */
export interface Blueprint {
  readonly identity: Required<PciIdentity>;
  /** Including the one added for MSI-X. */
  readonly bars: Bars;
  readonly counts: InterruptCounts;
  readonly msix: MsixPlacement | null;
  /** The expansion ROM, a power of two of bytes. */
  readonly rom: Uint8Array | null;
  /** The VGA region; null without one. */
  readonly vga: Bar | null;
  readonly config: ConfigLayout;
}

/** Checks an author's declarations and completes them. Throws DeviceError (ERR_DEVICE_DECLARATION) with the reason. */
export function draw({ identity, bars, interrupts, options }: DeviceDeclaration): Blueprint {
  const complete = completeIdentity(identity);
  checkBars(bars);
  const msi = normalise<MsiDeclaration>(interrupts.msi);
  if (msi !== null) checkMsi(msi);
  const wanted = normalise<MsixDeclaration>(interrupts.msix);
  const placed = wanted === null ? { bars, msix: null } : placeMsix(bars, wanted);
  const intx = interrupts.intx === true;
  const rom = options.rom === undefined ? null : paddedRom(options.rom);
  const capabilities = drawCapabilities(options, msi, placed.msix);
  const header = { bars: placed.bars, intx, capabilities: capabilities.first, romSize: rom?.length ?? 0 };
  return {
    identity: complete,
    bars: placed.bars,
    counts: { intx: intx ? 1 : 0, msi: msi?.vectors ?? 0, msix: placed.msix?.vectors ?? 0 },
    msix: placed.msix,
    rom,
    vga: options.vga === undefined ? null : vgaRegion(options.vga, complete.classCode),
    config: {
      size: configSizeOf(options),
      registers: [...type0Header(complete, header), ...capabilities.registers],
      windows: capabilities.windows,
    },
  };
}

/** The widths of an identity's numbers, in bits. */
const IDENTITY_BITS = {
  vendor: 16,
  device: 16,
  classCode: 24,
  revision: 8,
  subsystemVendor: 16,
  subsystemDevice: 16,
} as const;

function completeIdentity(identity: PciIdentity): Required<PciIdentity> {
  const complete = { revision: 0, subsystemVendor: 0, subsystemDevice: 0, ...identity };
  if (!/^[\x20-\x7e]{1,64}$/.test(complete.kind)) {
    throw wrongDeclaration('the kind of a device is 1 to 64 printable ASCII characters', {
      kind: complete.kind,
    });
  }
  for (const [name, bits] of Object.entries(IDENTITY_BITS)) {
    const value = Reflect.get(complete, name);
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** bits) {
      throw wrongDeclaration(`the identity's ${name} is a number of ${bits} bits, not ${value}`, {
        [name]: String(value),
      });
    }
  }
  return complete;
}

function checkMsi({ vectors }: MsiDeclaration): void {
  if (![1, 2, 4, 8, 16, 32].includes(vectors)) {
    throw wrongDeclaration(`MSI has 1, 2, 4, 8, 16 or 32 vectors, not ${vectors}`, { vectors });
  }
}

function normalise<D extends { readonly vectors: number }>(
  declared: number | D | undefined,
): D | { vectors: number } | null {
  if (declared === undefined || declared === 0) return null;
  return typeof declared === 'number' ? { vectors: declared } : declared;
}
