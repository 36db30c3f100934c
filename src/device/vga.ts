import { Errno } from '../errors/index.ts';
import { RegionIndex } from '../protocol/index.ts';
import type { Bar, BarContent } from './bar.ts';
import { CallbackContent, type RegionCallbacks } from './callback-content.ts';
import { wrongDeclaration } from './declaration-error.ts';
import { DeviceError } from './device-error.ts';

/** The region ends where the legacy memory ends; offsets are the legacy addresses (linux vfio_pci_core.c). */
const VGA_SIZE = 0xc0000;

/** A VGA compatible controller, which is who decodes the legacy ranges (PCI Code and ID Assignment, base class 03h). */
const VGA_CLASS = 0x030000;

/** The legacy ranges of VGA, from the first byte to behind the last (linux vfio_pci_rdwr.c, vfio_pci_vga_rw). */
const RANGES = [
  [0x3b0, 0x3bc],
  [0x3c0, 0x3e0],
  [0xa0000, VGA_SIZE],
] as const;

/** The VGA region of a device, like a BAR at fixed addresses. Throws DeviceError (ERR_DEVICE_DECLARATION). */
export function vgaRegion(callbacks: RegionCallbacks, classCode: number): Bar {
  if (classCode !== VGA_CLASS) {
    const message = 'only a VGA compatible controller, with class code 0x030000, has a VGA region';
    throw wrongDeclaration(message, { region: RegionIndex.VGA, classCode });
  }
  const content = new VgaContent(new CallbackContent(callbacks));
  const plain = { bits: 32, prefetchable: false, doorbells: [], sharing: null } as const;
  return { size: VGA_SIZE, space: 'memory', content, ...plain };
}

/** Passes on what lies inside one of the legacy ranges, and refuses the rest with EINVAL. */
class VgaContent implements BarContent {
  readonly #inner: BarContent;

  constructor(inner: BarContent) {
    this.#inner = inner;
  }

  read(offset: number, target: Uint8Array, at: number, length: number): void {
    requireLegacy(offset, length);
    this.#inner.read(offset, target, at, length);
  }

  write(offset: number, source: Uint8Array, at: number, length: number): void {
    requireLegacy(offset, length);
    this.#inner.write(offset, source, at, length);
  }
}

function requireLegacy(offset: number, length: number): void {
  if (RANGES.some(([begin, end]) => offset >= begin && offset + length <= end)) return;
  const message = `0x${offset.toString(16)} and ${length} bytes are not in one of the legacy ranges of VGA`;
  throw new DeviceError('ERR_DEVICE_ACCESS', message, { errno: Errno.EINVAL, context: { offset, length } });
}
