import type { Bar, Bars } from './bar.ts';
import { BAR_INDICES, barAt } from './bar-rules.ts';
import type { ConfigRegister } from './configuration-space.ts';
import type { PciIdentity } from './pci-identity.ts';

/** COMMAND bits (PCI Local Bus Specification 3.0, section 6.2.2). */
export const CommandBit = { IO: 1, MEMORY: 2, BUS_MASTER: 4, INTX_DISABLE: 0x400 } as const;

/** STATUS bits (section 6.2.3). */
export const StatusBit = { INTERRUPT: 8, CAPABILITIES: 0x10 } as const;

/** I/O and memory space, bus master, parity and SERR reporting, INTx disable. */
const COMMAND_WRITABLE = 0x547;
/** Parity error, the aborts, SERR and the second parity bit: software clears them by writing 1. */
const STATUS_CLEARABLE = 0xf900;

/** BAR type bits (section 6.2.5.1). */
const BAR_IO = 1;
const BAR_64BIT = 4;
const BAR_PREFETCHABLE = 8;

/** The enable bit of the ROM BAR. */
const ROM_ENABLE = 1;

/** The first 64 bytes of a type 0 configuration space (section 6.1). */
export const HEADER_SIZE = 0x40;

/** What a header tells besides who the device is. */
export interface HeaderContents {
  readonly bars: Bars;
  readonly intx: boolean;
  /** Offset of the first capability, 0 without any. */
  readonly capabilities: number;
  /** Bytes that the ROM BAR decodes, a power of two; 0 without a ROM. */
  readonly romSize: number;
}

/** The header of a device. */
export function type0Header(
  identity: Required<PciIdentity>,
  { bars, intx, capabilities, romSize }: HeaderContents,
): readonly ConfigRegister[] {
  return [
    { name: 'VENDOR_ID', offset: 0x00, size: 2, reset: identity.vendor },
    { name: 'DEVICE_ID', offset: 0x02, size: 2, reset: identity.device },
    { name: 'COMMAND', offset: 0x04, size: 2, writable: COMMAND_WRITABLE },
    {
      name: 'STATUS',
      offset: 0x06,
      size: 2,
      reset: capabilities === 0 ? 0 : StatusBit.CAPABILITIES,
      clearable: STATUS_CLEARABLE,
      volatile: StatusBit.INTERRUPT,
    },
    { name: 'REVISION_ID', offset: 0x08, size: 1, reset: identity.revision },
    { name: 'CLASS_CODE', offset: 0x09, size: 3, reset: identity.classCode },
    { name: 'CACHE_LINE_SIZE', offset: 0x0c, size: 1, writable: 0xff },
    { name: 'LATENCY_TIMER', offset: 0x0d, size: 1, writable: 0xff },
    { name: 'HEADER_TYPE', offset: 0x0e, size: 1 },
    { name: 'BIST', offset: 0x0f, size: 1 },
    ...barRegisters(bars),
    { name: 'CARDBUS_CIS', offset: 0x28, size: 4 },
    { name: 'SUBSYSTEM_VENDOR_ID', offset: 0x2c, size: 2, reset: identity.subsystemVendor },
    { name: 'SUBSYSTEM_ID', offset: 0x2e, size: 2, reset: identity.subsystemDevice },
    { name: 'ROM', offset: 0x30, size: 4, writable: romMask(romSize) },
    { name: 'CAPABILITIES', offset: 0x34, size: 1, reset: capabilities },
    { name: 'INTERRUPT_LINE', offset: 0x3c, size: 1, writable: 0xff },
    { name: 'INTERRUPT_PIN', offset: 0x3d, size: 1, reset: intx ? 1 : 0 },
    { name: 'MIN_GNT', offset: 0x3e, size: 1 },
    { name: 'MAX_LAT', offset: 0x3f, size: 1 },
  ];
}

/**
 * The six BARs. Sizing needs nothing special: the bits below the size are not writable, so that what reads back after
 * writing all ones tells it (section 6.2.5.1). An absent BAR reads 0.
 */
function barRegisters(bars: Bars): readonly ConfigRegister[] {
  return BAR_INDICES.map((index) => {
    const place = { name: `BAR${index}`, offset: 0x10 + 4 * index, size: 4 } as const;
    const bar = bars[index];
    if (bar !== undefined) return { ...place, reset: typeBits(bar), writable: addressMask(bar) };
    const below = barAt(bars, index - 1);
    return below?.bits === 64 ? { ...place, writable: upperAddressMask(below) } : place;
  });
}

/** The address, by which the ROM is sized as any BAR is, and the enable bit (section 6.2.5.2). */
function romMask(size: number): number {
  return size === 0 ? 0 : (-size | ROM_ENABLE) >>> 0;
}

function typeBits(bar: Bar): number {
  if (bar.space === 'io') return BAR_IO;
  return (bar.bits === 64 ? BAR_64BIT : 0) | (bar.prefetchable ? BAR_PREFETCHABLE : 0);
}

/** The writable bits of the low 32: those of the size and above. */
function addressMask(bar: Bar): number {
  return bar.size > 0xffffffff ? 0 : -bar.size >>> 0;
}

function upperAddressMask(bar: Bar): number {
  return bar.size > 0xffffffff ? -(bar.size / 2 ** 32) >>> 0 : 0xffffffff;
}
