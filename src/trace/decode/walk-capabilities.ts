import {
  CapabilityHeader,
  RegionCapabilityId,
  RegionInfoFlag,
  RegionType,
  SparseArea,
  SparseMmap,
} from '../../protocol/index.ts';
import type { FieldNode } from './field-node.ts';
import { bytesNode, groupNode } from './nodes.ts';
import { extentOf, type FixedValues, walkFields } from './walk-fields.ts';

/** The longest chain that is followed, entries; a real one has one or two. */
export const MAX_CHAIN = 64;

/** The version of the capabilities whose content is declared. */
export const KNOWN_VERSION = 1;

/**
 * The capability chain of DEVICE_GET_REGION_INFO. `base` is where the payload begins; offsets in the chain count from
 * there. It ends where it leaves the message, comes back to itself or gets too long: why that is wrong is said by the
 * declared decoder.
 */
export function walkCapabilities(
  values: FixedValues,
  key: string,
  bytes: Uint8Array,
  view: DataView,
  { base, chainStart }: { readonly base: number; readonly chainStart: number },
): FieldNode[] {
  if ((extentOf(values, 'flags') & RegionInfoFlag.CAPS) === 0) return [];
  const offsets = chainOffsets(view, base, chainStart, extentOf(values, 'capOffset'));
  const starts = offsets.toSorted((a, b) => a - b);
  return offsets.map((at, i) => {
    const end = starts.find((start) => start > at) ?? view.byteLength;
    return capabilityNode(`capabilities[${i}]`, `${key}.capabilities`, bytes, view, at, end);
  });
}

function chainOffsets(view: DataView, base: number, chainStart: number, first: number): readonly number[] {
  const offsets: number[] = [];
  for (let next = first; next !== 0 && offsets.length < MAX_CHAIN; ) {
    const at = base + next;
    if (at < chainStart || at + CapabilityHeader.size > view.byteLength || offsets.includes(at)) break;
    offsets.push(at);
    next = CapabilityHeader.read(view, at).next;
  }
  return offsets;
}

function capabilityNode(
  name: string,
  key: string,
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
): FieldNode {
  const head = walkFields(CapabilityHeader, key, view, at, end);
  const content = at + CapabilityHeader.size;
  const inner = contentNodes(head.values, key, bytes, view, content, Math.max(content, end));
  return groupNode(name, key, at, Math.max(content, end) - at, [...head.nodes, ...inner]);
}

function contentNodes(
  head: FixedValues,
  key: string,
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
): readonly FieldNode[] {
  if (head.get('version') === KNOWN_VERSION && head.get('id') === RegionCapabilityId.TYPE) {
    return walkFields(RegionType, `${key}.type`, view, at, end).nodes;
  }
  if (head.get('version') === KNOWN_VERSION && head.get('id') === RegionCapabilityId.SPARSE_MMAP) {
    return sparseNodes(`${key}.sparse_mmap`, view, at, end);
  }
  return end > at ? [bytesNode('data', `${key}.data`, bytes, at, end)] : [];
}

function sparseNodes(key: string, view: DataView, at: number, end: number): readonly FieldNode[] {
  const fixed = walkFields(SparseMmap, key, view, at, end);
  const nodes = [...fixed.nodes];
  const count = extentOf(fixed.values, 'nrAreas');
  let start = at + SparseMmap.size;
  for (let i = 0; fixed.whole && i < count && start + SparseArea.size <= end; i += 1) {
    const area = walkFields(SparseArea, `${key}.areas`, view, start, end);
    nodes.push(groupNode(`areas[${i}]`, `${key}.areas`, start, SparseArea.size, area.nodes));
    start += SparseArea.size;
  }
  return nodes;
}
