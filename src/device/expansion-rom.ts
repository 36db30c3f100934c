import { RegionIndex } from '../protocol/index.ts';
import { wrongDeclaration } from './declaration-error.ts';
import type { Region } from './served-device.ts';
import { KiB, MiB } from './units.ts';

/** The smallest ROM BAR has this size: its lower 11 bits are not address (PCI 3.0, section 6.2.5.2). */
const SMALLEST = 2 * KiB;
const LARGEST = 16 * MiB;
/** What an erased flash reads. */
const ERASED = 0xff;

/** A ROM's contents, padded to what its BAR decodes. Throws DeviceError (ERR_DEVICE_DECLARATION) beyond 16 MiB. */
export function paddedRom(contents: Uint8Array): Uint8Array {
  if (contents.length === 0 || contents.length > LARGEST) {
    throw wrongDeclaration(`an expansion ROM has 1 to ${LARGEST} bytes, not ${contents.length}`, {
      size: contents.length,
    });
  }
  const size = Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(contents.length)));
  const rom = new Uint8Array(size).fill(ERASED);
  rom.set(contents);
  return rom;
}

/** The expansion ROM as a region that is read, and never written (linux vfio_pci_core.c refuses that with EINVAL). */
export function romRegion(rom: Uint8Array): Region {
  return {
    index: RegionIndex.ROM,
    size: rom.length,
    readable: true,
    writable: false,
    shared: null,
    read: (offset, target, at, length) => target.set(rom.subarray(offset, offset + length), at),
    write: () => {},
  };
}
