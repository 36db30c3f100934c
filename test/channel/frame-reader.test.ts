import { crc32 } from 'node:zlib';
import { expect, it } from 'vitest';
import { FRAME_HEADER_SIZE } from '../../src/channel/frame.ts';
import { FrameReader } from '../../src/channel/frame-reader.ts';
import { FrameWriter } from '../../src/channel/frame-writer.ts';
import { messages } from '../../src/channel/messages.ts';
import { FakeLink } from './fake-link.ts';

const MiB = 1024 * 1024;
const QUARTER = MiB / 4;

/** A frame of 1 MiB, and the header of the one after it. */
function stream(): Uint8Array {
  const link = new FakeLink();
  const writer = new FrameWriter(link, { crc32 });
  const head = new Uint8Array(2);
  const frame = { kind: messages.DATA.number, flags: 0, rawLength: MiB, head, live: false };
  for (const sequence of [1, 2])
    writer.write({ ...frame, body: new Uint8Array(MiB - head.length) }, sequence);
  return link.bytes.subarray(0, FRAME_HEADER_SIZE + MiB + FRAME_HEADER_SIZE);
}

it('receives a large payload in large pieces, the last one with the header that follows', () => {
  const bytes = stream();
  const reader = new FrameReader({ window: 4 * MiB, crc32, accept: () => {} });
  const pieces: number[] = [];
  // The socket has the first header only, then as much as is wanted.
  for (let at = 0; at < bytes.length; ) {
    const count = at === 0 ? FRAME_HEADER_SIZE : Math.min(reader.room, bytes.length - at);
    reader.put(bytes.subarray(at, at + count));
    reader.received(count);
    pieces.push(count);
    at += count;
  }
  expect(pieces).toEqual([FRAME_HEADER_SIZE, QUARTER, QUARTER, QUARTER, QUARTER + FRAME_HEADER_SIZE]);
});
