import { describe, expect, it } from 'vitest';
import { FrameKind, FrameReader, frameHead, MAX_VMM_FRAME } from '../../src/vm/vm-stream.ts';

function reader() {
  const seen: string[] = [];
  const frames = new FrameReader({
    vmm: (piece) => seen.push(`vmm ${Buffer.from(piece)}`),
    record: (bytes) => seen.push(`record ${Buffer.from(bytes)}`),
    end: () => seen.push('end'),
  });
  return { frames, seen };
}

const frame = (kind: FrameKind, text: string): Uint8Array =>
  Buffer.concat([frameHead(kind, text.length), Buffer.from(text)]);
const WHOLE = Buffer.concat([
  frame(FrameKind.VMM, 'abc'),
  frame(FrameKind.RECORD, 'record'),
  frame(FrameKind.VMM, 'd'),
  frame(FrameKind.END, ''),
]);

describe('the stream of a VM', () => {
  it('is taken apart', () => {
    const { frames, seen } = reader();
    frames.push(WHOLE);
    expect(seen).toEqual(['vmm abc', 'record record', 'vmm d', 'end']);
    expect(frames.ended).toBe(true);
  });

  it.each([1, 2, 3, 4, 5, 6, 7])('is the same in pieces of %i bytes', (size) => {
    const { frames, seen } = reader();
    for (let at = 0; at < WHOLE.length; at += size) frames.push(WHOLE.subarray(at, at + size));
    expect(
      seen
        .filter((each) => each.startsWith('vmm'))
        .map((each) => each.slice(4))
        .join(''),
    ).toBe('abcd');
    expect(seen).toContain('record record');
    expect(seen.at(-1)).toBe('end');
  });

  it('is not at its end before it says so', () => {
    const { frames } = reader();
    frames.push(WHOLE.subarray(0, -1));
    expect(frames.ended).toBe(false);
  });

  it.each([
    ['an unknown kind', Uint8Array.of(9, 0, 0, 0, 0)],
    ['too long a piece', frameHead(FrameKind.VMM, MAX_VMM_FRAME + 1)],
    ['too long a record', frameHead(FrameKind.RECORD, 0xffff_ffff)],
    ['an end with something in it', frameHead(FrameKind.END, 1)],
    ['more behind its end', Buffer.concat([frame(FrameKind.END, ''), Uint8Array.of(1)])],
  ])('is refused with %s', (_, bytes) => {
    expect(() => reader().frames.push(bytes)).toThrow(expect.objectContaining({ code: 'ERR_VM_RECORD' }));
  });
});
