import { type PciCapability, parseCapabilities } from './pci-capabilities.ts';

/** A base address register with something in it. A 64-bit one takes two places and stands at the first. */
export interface PciBar {
  readonly index: number;
  readonly kind: 'memory' | 'io';
  /** The address that the guest has given it; 0 before it has. */
  readonly address: bigint;
  readonly wide: boolean;
  readonly prefetchable: boolean;
}

/** Configuration space of a PCI device with header type 0, decoded (PCI Local Bus 3.0, 6.1 and 6.2). */
export interface PciConfig {
  /** As it was read: 256 or 4096 bytes. */
  readonly bytes: Uint8Array;
  readonly vendor: number;
  readonly device: number;
  readonly subsystemVendor: number;
  readonly subsystemDevice: number;
  readonly command: number;
  readonly status: number;
  readonly revision: number;
  /** Base class, sub-class, programming interface: 24 bits. */
  readonly classCode: number;
  readonly headerType: number;
  readonly interruptLine: number;
  /** 0 none, 1 INTA to 4 INTD. */
  readonly interruptPin: number;
  /** The BARs whose register is not zero. One that is all zero looks like one that is not there. */
  readonly bars: readonly PciBar[];
  readonly capabilities: readonly PciCapability[];
}

/** Bytes that a header needs to be decoded. */
export const PCI_HEADER_SIZE = 64;

const BAR_COUNT = 6;
const BAR_AT = 0x10;
const BAR_IO = 1;
const BAR_TYPE_MASK = 6;
const BAR_64_BIT = 4;
const BAR_PREFETCHABLE = 8;

/** Decodes configuration space; null when `bytes` are fewer than a header. PCI is little-endian on every host. */
export function parsePciConfig(bytes: Uint8Array): PciConfig | null {
  if (bytes.length < PCI_HEADER_SIZE) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u16 = (at: number): number => view.getUint16(at, true);
  return {
    bytes,
    vendor: u16(0x00),
    device: u16(0x02),
    command: u16(0x04),
    status: u16(0x06),
    revision: view.getUint8(0x08),
    classCode: view.getUint32(0x08, true) >>> 8,
    headerType: view.getUint8(0x0e),
    bars: parseBars(view),
    subsystemVendor: u16(0x2c),
    subsystemDevice: u16(0x2e),
    interruptLine: view.getUint8(0x3c),
    interruptPin: view.getUint8(0x3d),
    capabilities: parseCapabilities(view),
  };
}

function parseBars(view: DataView): PciBar[] {
  const bars: PciBar[] = [];
  for (let index = 0; index < BAR_COUNT; index += 1) {
    const low = view.getUint32(BAR_AT + 4 * index, true);
    if (low === 0) continue;
    const io = (low & BAR_IO) !== 0;
    const wide = !io && (low & BAR_TYPE_MASK) === BAR_64_BIT && index + 1 < BAR_COUNT;
    const high = wide ? view.getUint32(BAR_AT + 4 * (index + 1), true) : 0;
    const address = (BigInt(high) << 32n) | BigInt((low & (io ? ~0x3 : ~0xf)) >>> 0);
    const prefetchable = !io && (low & BAR_PREFETCHABLE) !== 0;
    bars.push({ index, kind: io ? 'io' : 'memory', address, wide, prefetchable });
    if (wide) index += 1;
  }
  return bars;
}
