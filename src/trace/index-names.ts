import { IrqIndex, RegionIndex } from '../protocol/index.ts';
import type { FieldNode } from './decode/index.ts';

/** Fields that hold the number of a region or of an interrupt type, by the end of their key. */
const REGION = /(?:\.region|get_region_info\..*\.index|get_region_io_fds\..*\.index)$/;
const IRQ = /(?:get_irq_info|set_irqs)\..*\.index$/;

const nameIn = (names: Readonly<Record<string, number>>, wanted: number): string | null =>
  Object.entries(names).find(([, value]) => value === wanted)?.[0] ?? null;

const names = new Map<string, Readonly<Record<string, number>> | null>();

/** What a region's or interrupt's number is called on a PCI device; null for any other field. */
export function indexName({ key, value }: FieldNode): string | null {
  if (typeof value !== 'number') return null;
  let list = names.get(key);
  if (list === undefined) {
    list = REGION.test(key) ? RegionIndex : IRQ.test(key) ? IrqIndex : null;
    names.set(key, list);
  }
  return list === null ? null : nameIn(list, value);
}

/** A field's value as people read it, numbers of regions and interrupts by name. */
export function nodeText(node: FieldNode): string {
  return indexName(node) ?? node.text;
}
