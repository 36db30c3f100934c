import type { BarContent } from './bar.ts';

/** Something that lies over a part of a BAR and sees offsets from its own start. */
export interface Overlay {
  readonly offset: number;
  readonly size: number;
  readonly content: BarContent;
}

interface Piece {
  readonly start: number;
  readonly end: number;
  /** Where the content's offset 0 is. */
  readonly origin: number;
  readonly content: BarContent;
}

/** A BAR of which parts are something else. An access that crosses a border is split there. */
export class OverlayContent implements BarContent {
  /** Ascending, without gaps. */
  readonly #pieces: readonly Piece[];

  /** `overlays` are disjoint. */
  constructor(size: number, base: BarContent, overlays: readonly Overlay[]) {
    const pieces: Piece[] = [];
    let start = 0;
    for (const { offset, size: length, content } of overlays.toSorted((a, b) => a.offset - b.offset)) {
      if (offset > start) pieces.push({ start, end: offset, origin: 0, content: base });
      pieces.push({ start: offset, end: offset + length, origin: offset, content });
      start = offset + length;
    }
    if (size > start) pieces.push({ start, end: size, origin: 0, content: base });
    this.#pieces = pieces;
  }

  read(offset: number, target: Uint8Array, at: number, length: number): void {
    for (const { start, end, origin, content } of this.#pieces) {
      const from = Math.max(offset, start);
      const part = Math.min(offset + length, end) - from;
      if (part > 0) content.read(from - origin, target, at + from - offset, part);
    }
  }

  write(offset: number, source: Uint8Array, at: number, length: number): void {
    for (const { start, end, origin, content } of this.#pieces) {
      const from = Math.max(offset, start);
      const part = Math.min(offset + length, end) - from;
      if (part > 0) content.write(from - origin, source, at + from - offset, part);
    }
  }
}

/** Reads 0 and ignores writes. */
export const NOTHING: BarContent = {
  read: (_offset, target, at, length) => {
    target.fill(0, at, at + length);
  },
  write: () => {},
};
