import type { Cursor } from './cursor.ts';
import { padding, struct, u16, u32, u64, type ValueOfStruct } from './layout.ts';
import { MAX_REGION_CAPABILITIES } from './limits.ts';
import { extent, type Tail } from './tail.ts';
import { printBytes } from './tails.ts';

/** Numbers of region capabilities (linux/vfio.h, VFIO_REGION_INFO_CAP_). */
export const RegionCapabilityId = { SPARSE_MMAP: 1, TYPE: 2 } as const;

/** The start of every capability (linux/vfio.h, struct vfio_info_cap_header). */
export const CapabilityHeader = struct('capability header', {
  id: u16('which capability'),
  version: u16('version of its layout'),
  next: u32('offset of the next capability from the start of the payload, 0 at the end'),
});

/** What follows the header of a sparse mmap capability. */
export const SparseMmap = struct('sparse mmap', {
  nrAreas: u32('how many areas follow'),
  reserved: padding(4),
});

/** A part of a region that can be mapped (linux/vfio.h, struct vfio_region_sparse_mmap_area). */
export const SparseArea = struct('sparse area', {
  offset: u64('bytes from the start of the region', { format: 'hex' }),
  size: u64('bytes', { format: 'hex' }),
});

/** What follows the header of a region type capability (linux/vfio.h, struct vfio_region_info_cap_type). */
export const RegionType = struct('region type', {
  type: u32('a vendor (bit 31 set) or a kind of device', { format: 'hex' }),
  subtype: u32('what that vendor or kind means by it', { format: 'hex' }),
});

/** The value of {@link SparseArea}. */
export type SparseArea = ValueOfStruct<typeof SparseArea>;

/** A capability of a region. Those that are not understood keep their bytes. */
export type RegionCapability =
  | { readonly kind: 'sparse-mmap'; readonly areas: readonly SparseArea[] }
  | ({ readonly kind: 'type' } & ValueOfStruct<typeof RegionType>)
  | { readonly kind: 'other'; readonly id: number; readonly version: number; readonly data: Uint8Array };

/** The version of both capabilities that are understood. */
const VERSION = 1;

/** Capabilities begin on 8 bytes (linux vfio_main.c, vfio_info_cap_add). */
const ALIGNMENT = 8;

/**
 * The capability chain after the fixed part of a region info, whose size is `base`. `capsFlag` is the bit of the flags
 * that says that there is one. A chain that leaves the payload, loops or is endless is refused.
 */
export function capabilityChain(
  base: number,
  capsFlag: number,
): Tail<'capabilities', readonly RegionCapability[], 'capOffset'> {
  return {
    name: 'capabilities',
    doc: 'capability chain from cap_offset, if flags have CAPS',
    shape: { kind: 'chain' },
    read: (cursor, fixed) => {
      const first = (extent(fixed, 'flags') & capsFlag) === 0 ? 0 : extent(fixed, 'capOffset');
      const capabilities = readChain(cursor, base, first);
      cursor.at = cursor.bytes.length;
      return capabilities;
    },
    size: (value) => value.reduce((total, capability) => total + sizeOf(capability), 0),
    write: writeChain,
    link: (value) => ({ capOffset: value.length === 0 ? 0 : base }),
    print: (value) => `capabilities=[${value.map(print).join(' ')}]`,
  };
}

function readChain(cursor: Cursor, base: number, first: number): readonly RegionCapability[] {
  const offsets: number[] = [];
  for (let at = first; at !== 0; ) {
    if (offsets.includes(at)) cursor.fail('capabilities', 'loop', at);
    if (offsets.length === MAX_REGION_CAPABILITIES)
      cursor.fail('capabilities', `are more than ${offsets.length}`, at);
    if (at < base || at + CapabilityHeader.size > cursor.bytes.length) {
      cursor.fail('cap_offset', 'lies outside the capability part of the payload', at);
    }
    offsets.push(at);
    at = CapabilityHeader.read(cursor.view, at).next;
  }
  const starts = offsets.toSorted((a, b) => a - b);
  return offsets.map((at) => {
    const end = starts.find((start) => start > at) ?? cursor.bytes.length;
    return readCapability(cursor, at, end);
  });
}

/** Reads the capability at `at`; what it may contain ends at `end`, where the next one or nothing is. */
function readCapability(cursor: Cursor, at: number, end: number): RegionCapability {
  const { id, version } = CapabilityHeader.read(cursor.view, at);
  const content = at + CapabilityHeader.size;
  const room = end - content;
  if (version === VERSION && id === RegionCapabilityId.SPARSE_MMAP) {
    if (room < SparseMmap.size) cursor.fail('nr_areas', 'is missing', content);
    const { nrAreas } = SparseMmap.read(cursor.view, content);
    const areas = content + SparseMmap.size;
    if (nrAreas * SparseArea.size > end - areas) cursor.fail('nr_areas', `is ${nrAreas}, too many`, content);
    const read = (_: unknown, i: number) => SparseArea.read(cursor.view, areas + i * SparseArea.size);
    return { kind: 'sparse-mmap', areas: Array.from({ length: nrAreas }, read) };
  }
  if (version === VERSION && id === RegionCapabilityId.TYPE) {
    if (room < RegionType.size) cursor.fail('type', 'is missing', content);
    return { kind: 'type', ...RegionType.read(cursor.view, content) };
  }
  return { kind: 'other', id, version, data: cursor.bytes.subarray(content, Math.max(content, end)) };
}

function sizeOf(capability: RegionCapability): number {
  return CapabilityHeader.size + Math.ceil(contentSize(capability) / ALIGNMENT) * ALIGNMENT;
}

function contentSize(capability: RegionCapability): number {
  switch (capability.kind) {
    case 'sparse-mmap':
      return SparseMmap.size + capability.areas.length * SparseArea.size;
    case 'type':
      return RegionType.size;
    case 'other':
      return capability.data.length;
  }
}

function writeChain(bytes: Uint8Array, base: number, capabilities: readonly RegionCapability[]): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = base;
  capabilities.forEach((capability, i) => {
    const end = at + sizeOf(capability);
    CapabilityHeader.write(view, at, {
      ...identity(capability),
      next: i + 1 < capabilities.length ? end : 0,
    });
    writeContent(bytes, view, at + CapabilityHeader.size, capability);
    at = end;
  });
}

function identity(capability: RegionCapability): { id: number; version: number } {
  switch (capability.kind) {
    case 'sparse-mmap':
      return { id: RegionCapabilityId.SPARSE_MMAP, version: VERSION };
    case 'type':
      return { id: RegionCapabilityId.TYPE, version: VERSION };
    case 'other':
      return { id: capability.id, version: capability.version };
  }
}

function writeContent(bytes: Uint8Array, view: DataView, at: number, capability: RegionCapability): void {
  switch (capability.kind) {
    case 'sparse-mmap':
      SparseMmap.write(view, at, { nrAreas: capability.areas.length });
      capability.areas.forEach((area, i) => {
        SparseArea.write(view, at + SparseMmap.size + i * SparseArea.size, area);
      });
      return;
    case 'type':
      return void RegionType.write(view, at, capability);
    case 'other':
      bytes.set(capability.data, at);
  }
}

function print(capability: RegionCapability): string {
  switch (capability.kind) {
    case 'sparse-mmap':
      return `sparse mmap {${capability.areas.map((area) => SparseArea.print(area)).join('; ')}}`;
    case 'type':
      return `type {${RegionType.print(capability)}}`;
    case 'other':
      return `capability ${capability.id} version ${capability.version} {${printBytes(capability.data)}}`;
  }
}
