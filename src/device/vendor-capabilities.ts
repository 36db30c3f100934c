import type { Capability, ExtendedCapability } from './capability.ts';
import type { ConfigRegister } from './configuration-space.ts';
import { wrongDeclaration } from './declaration-error.ts';

/** Bytes that only a vendor's driver understands. */
export interface VendorBytes {
  /** `VENDOR` by default; with several in one device each has a name of its own. */
  readonly name?: string;
  /** The contents after reset, behind what the specification defines. */
  readonly bytes: Uint8Array;
  /** The bits that software sets and clears, as many bytes as `bytes`; none by default. */
  readonly writable?: Uint8Array;
  /** Where the capability lies; by default where there is room. */
  readonly offset?: number;
}

/** A vendor-specific extended capability: what is in its own header. */
export interface ExtendedVendorBytes extends VendorBytes {
  /** VSEC ID, 16 bits, the vendor's own choice. */
  readonly id: number;
  /** VSEC revision, 4 bits; 0 by default. */
  readonly revision?: number;
}

/** Bytes before the contents: id, next pointer and length. */
const VENDOR_HEADER = 3;
/** The header of every extended capability and the vendor-specific one. */
const VSEC_HEADER = 8;

/**
 * A vendor-specific capability (PCI 3.0, appendix H): its length, and then the vendor's bytes, from offset 3 on. Throws
 * DeviceError (ERR_DEVICE_DECLARATION) for masks of another length than the bytes.
 */
export function vendorSpecific({ name = 'VENDOR', ...vendor }: VendorBytes): Capability {
  const size = VENDOR_HEADER + vendor.bytes.length;
  return {
    name,
    id: 0x09,
    size,
    registers: [{ name: 'LENGTH', offset: 2, size: 1, reset: size }, ...registersOf(vendor, VENDOR_HEADER)],
    ...placeOf(vendor),
  };
}

/**
 * A vendor-specific extended capability, VSEC (PCI Express Base Specification, section 7.9.5): its own header, and then
 * the vendor's bytes, from offset 8 on. Throws DeviceError (ERR_DEVICE_DECLARATION).
 */
export function vendorSpecificExtended({
  name = 'VENDOR_EXTENDED',
  id,
  revision = 0,
  ...vendor
}: ExtendedVendorBytes): ExtendedCapability {
  const size = VSEC_HEADER + vendor.bytes.length;
  if (!isBits(id, 16) || !isBits(revision, 4)) {
    throw wrongDeclaration(`${name}: a VSEC has an ID of 16 bits and a revision of 4`, { id, revision });
  }
  const header = (id | (revision << 16) | (size << 20)) >>> 0;
  return {
    name,
    id: 0x000b,
    size,
    registers: [{ name: 'VSEC', offset: 4, size: 4, reset: header }, ...registersOf(vendor, VSEC_HEADER)],
    ...placeOf(vendor),
  };
}

/** The device serial number capability (section 7.9.3). Throws DeviceError (ERR_DEVICE_DECLARATION) beyond 64 bits. */
export function serialNumberCapability(serial: bigint): ExtendedCapability {
  if (serial < 0n || serial >= 1n << 64n) {
    throw wrongDeclaration(`a serial number has 64 bits, which ${serial} does not fit`, { serial });
  }
  return {
    name: 'SERIAL_NUMBER',
    id: 0x0003,
    size: 12,
    registers: [
      { name: 'LOW', offset: 4, size: 4, reset: Number(serial & 0xffff_ffffn) },
      { name: 'HIGH', offset: 8, size: 4, reset: Number(serial >> 32n) },
    ],
  };
}

function registersOf({ bytes, writable }: VendorBytes, from: number): readonly ConfigRegister[] {
  if (writable !== undefined && writable.length !== bytes.length) {
    throw wrongDeclaration(
      `${bytes.length} vendor-specific bytes have as many of write masks, not ${writable.length}`,
      { bytes: bytes.length, masks: writable.length },
    );
  }
  return Array.from(bytes, (reset, i) => ({
    name: `BYTE_${i}`,
    offset: from + i,
    size: 1,
    reset,
    writable: writable?.[i] ?? 0,
  }));
}

function placeOf({ offset }: VendorBytes): { readonly offset?: number } {
  return offset === undefined ? {} : { offset };
}

function isBits(value: number, bits: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 2 ** bits;
}
