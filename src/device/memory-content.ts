import type { BarContent, MemoryBarOptions } from './bar.ts';
import { wrongDeclaration } from './declaration-error.ts';
import type { DeviceError } from './device-error.ts';
import type { RegionArea } from './served-device.ts';
import type { MemoryBlock } from './state/index.ts';

/** Clients map whole pages. */
const PAGE = 4096;

/** A BAR over a memory block, where it is accessed by messages. */
export class MemoryContent implements BarContent {
  readonly #block: MemoryBlock;

  constructor(block: MemoryBlock) {
    this.#block = block;
  }

  read(offset: number, target: Uint8Array, at: number, length: number): void {
    this.#block.read(offset, target, at, length);
  }

  write(offset: number, source: Uint8Array, at: number, length: number): void {
    this.#block.write(offset, source, at, length);
  }
}

/** The areas that a client may map; empty when none. Throws DeviceError for areas that no client could map. */
export function sharedAreas(size: number, mmap: MemoryBarOptions['mmap']): readonly RegionArea[] {
  if (mmap === undefined || mmap === false) return [];
  if (mmap === true) return [{ offset: 0, size }];
  let end = 0;
  for (const area of mmap) {
    if (area.offset % PAGE !== 0 || area.size % PAGE !== 0 || !(area.size > 0) || !(area.offset >= end)) {
      throw badArea('an area to map is page-aligned, not empty, and behind the one before', area);
    }
    end = area.offset + area.size;
    if (end > size) throw badArea(`an area to map lies beyond the ${size} bytes of its BAR`, area);
  }
  return mmap;
}

function badArea(message: string, { offset, size }: RegionArea): DeviceError {
  return wrongDeclaration(message, { offset, size });
}
