import { expect, it } from 'vitest';
import type { BarContent } from '../../src/device/index.ts';
import { NOTHING, OverlayContent } from '../../src/device/overlay-content.ts';

function memory(size: number, fill: number): { bytes: Uint8Array; content: BarContent } {
  const bytes = new Uint8Array(size).fill(fill);
  return {
    bytes,
    content: {
      read: (offset, target, at, length) => target.set(bytes.subarray(offset, offset + length), at),
      write: (offset, source, at, length) => bytes.set(source.subarray(at, at + length), offset),
    },
  };
}

it('an overlay hides what is below, and accesses across borders are split there', () => {
  const base = memory(16, 1);
  const first = memory(4, 2);
  const second = memory(2, 3);
  const content = new OverlayContent(16, base.content, [
    { offset: 12, size: 2, content: second.content },
    { offset: 4, size: 4, content: first.content },
  ]);
  const target = new Uint8Array(18);
  content.read(0, target, 1, 16);
  expect([...target]).toEqual([0, 1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 3, 3, 1, 1, 0]);
  content.write(3, Uint8Array.of(0, 10, 11, 12, 13, 14, 15), 1, 6);
  expect([...first.bytes]).toEqual([11, 12, 13, 14]);
  expect([...base.bytes.subarray(0, 9)]).toEqual([1, 1, 1, 10, 1, 1, 1, 1, 15]);
});

it('nothing reads 0', () => {
  const target = Uint8Array.of(1, 2, 3, 4);
  NOTHING.read(0, target, 1, 2);
  NOTHING.write(0, target, 0, 4);
  expect([...target]).toEqual([1, 0, 0, 4]);
});
