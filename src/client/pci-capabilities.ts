/** What a capability says, decoded as far as it is known: registers and bits by name. What has 64 bits is a bigint. */
export type PciCapabilityDetails = Readonly<Record<string, number | bigint | boolean>>;

/** A capability of configuration space. */
export interface PciCapability {
  readonly id: number;
  /** Such as `MSI-X`; `capability 0x2a` when it has no name here. */
  readonly name: string;
  /** Bytes from the start of configuration space. */
  readonly offset: number;
  /** It stands in the extended list (PCI Express), behind byte 0x100. */
  readonly extended: boolean;
  readonly details: PciCapabilityDetails;
}

type Decode = (view: DataView, at: number) => PciCapabilityDetails;

interface Kind {
  readonly name: string;
  /** Bytes that `decode` reads. */
  readonly size?: number;
  readonly decode?: Decode;
}

const u16 = (view: DataView, at: number): number => view.getUint16(at, true);
const u32 = (view: DataView, at: number): number => view.getUint32(at, true);
const bit = (value: number, mask: number): boolean => (value & mask) !== 0;

const powerManagement: Decode = (view, at) => ({
  version: u16(view, at + 2) & 7,
  powerState: u16(view, at + 4) & 3,
});

const msi: Decode = (view, at) => {
  const control = u16(view, at + 2);
  return {
    enabled: bit(control, 1),
    capable: 1 << ((control >> 1) & 7),
    allocated: 1 << ((control >> 4) & 7),
    wide: bit(control, 0x80),
    maskable: bit(control, 0x100),
  };
};

const express: Decode = (view, at) => ({
  version: u16(view, at + 2) & 0xf,
  type: (u16(view, at + 2) >> 4) & 0xf,
  functionLevelReset: bit(u32(view, at + 4), 1 << 28),
});

const msix: Decode = (view, at) => {
  const control = u16(view, at + 2);
  const table = u32(view, at + 4);
  const pending = u32(view, at + 8);
  return {
    enabled: bit(control, 0x8000),
    masked: bit(control, 0x4000),
    vectors: (control & 0x7ff) + 1,
    tableBar: table & 7,
    tableOffset: (table & ~7) >>> 0,
    pendingBar: pending & 7,
    pendingOffset: (pending & ~7) >>> 0,
  };
};

const vendorSpecific: Decode = (view, at) => ({ length: view.getUint8(at + 2) });

/** PCI Express Base Specification, section 7.8.4. */
const advancedErrors: Decode = (view, at) => ({
  uncorrectableStatus: u32(view, at + 4),
  uncorrectableMask: u32(view, at + 8),
  correctableStatus: u32(view, at + 16),
  correctableMask: u32(view, at + 20),
  firstError: u32(view, at + 24) & 0x1f,
});

/** Section 7.9.3. */
const serialNumber: Decode = (view, at) => ({ serialNumber: view.getBigUint64(at + 4, true) });

/** Section 7.9.5. */
const vendorSpecificExtended: Decode = (view, at) => {
  const header = u32(view, at + 4);
  return { vsecId: header & 0xffff, revision: (header >>> 16) & 0xf, length: header >>> 20 };
};

/** Capability ids of the PCI Code and ID Assignment Specification. */
const kinds = new Map<number, Kind>([
  [0x01, { name: 'Power Management', size: 8, decode: powerManagement }],
  [0x03, { name: 'Vital Product Data' }],
  [0x05, { name: 'MSI', size: 4, decode: msi }],
  [0x09, { name: 'Vendor Specific', size: 3, decode: vendorSpecific }],
  [0x10, { name: 'PCI Express', size: 8, decode: express }],
  [0x11, { name: 'MSI-X', size: 12, decode: msix }],
  [0x13, { name: 'Advanced Features' }],
]);

const extendedKinds = new Map<number, Kind>([
  [0x01, { name: 'Advanced Error Reporting', size: 28, decode: advancedErrors }],
  [0x03, { name: 'Device Serial Number', size: 12, decode: serialNumber }],
  [0x0b, { name: 'Vendor Specific', size: 8, decode: vendorSpecificExtended }],
  [0x0d, { name: 'Access Control Services' }],
  [0x0e, { name: 'Alternative Routing-ID' }],
  [0x0f, { name: 'Address Translation Service' }],
  [0x10, { name: 'Single Root I/O Virtualization' }],
  [0x15, { name: 'Resizable BAR' }],
  [0x18, { name: 'Latency Tolerance Reporting' }],
  [0x1b, { name: 'Process Address Space ID' }],
]);

const STATUS_AT = 0x06;
const STATUS_CAPABILITIES = 0x10;
const POINTER_AT = 0x34;
const FIRST_CAPABILITY = 0x40;
const CONVENTIONAL_SIZE = 0x100;

/** Follows both lists of capabilities. A loop, or a pointer out of configuration space, ends a list. */
export function parseCapabilities(view: DataView): PciCapability[] {
  return [...conventional(view), ...extended(view)];
}

function conventional(view: DataView): PciCapability[] {
  const found: PciCapability[] = [];
  if (!bit(u16(view, STATUS_AT), STATUS_CAPABILITIES)) return found;
  const seen = new Set<number>();
  let at = view.getUint8(POINTER_AT) & ~3;
  while (at >= FIRST_CAPABILITY && at + 2 <= Math.min(view.byteLength, CONVENTIONAL_SIZE) && !seen.has(at)) {
    seen.add(at);
    found.push(capability(view, at, view.getUint8(at), false));
    at = view.getUint8(at + 1) & ~3;
  }
  return found;
}

function extended(view: DataView): PciCapability[] {
  const found: PciCapability[] = [];
  const seen = new Set<number>();
  let at = CONVENTIONAL_SIZE;
  while (at >= CONVENTIONAL_SIZE && at + 4 <= view.byteLength && !seen.has(at)) {
    seen.add(at);
    const header = u32(view, at);
    if (header === 0 || header === 0xffff_ffff) break;
    found.push(capability(view, at, header & 0xffff, true));
    at = (header >>> 20) & ~3;
  }
  return found;
}

function capability(view: DataView, offset: number, id: number, isExtended: boolean): PciCapability {
  const kind = (isExtended ? extendedKinds : kinds).get(id);
  const decodable = kind?.decode !== undefined && offset + (kind.size ?? 0) <= view.byteLength;
  return {
    id,
    name: kind?.name ?? `capability 0x${id.toString(16)}`,
    offset,
    extended: isExtended,
    details: decodable ? (kind?.decode?.(view, offset) ?? {}) : {},
  };
}
