import { flags } from '../protocol/index.ts';
import { bits, channelStruct, u16, u32, u64 } from './layout.ts';

/** CRC-32 as zlib computes it, continued from `seed`. */
export type Crc32 = (data: Uint8Array, seed: number) => number;

/** Copies `source` to `target` from `offset` on; the CRC-32 of the copy, continued from `seed`. */
export type Crc32Copy = (target: Uint8Array, offset: number, source: Uint8Array, seed: number) => number;

/** What computes checksums. */
export interface Checksums {
  readonly crc32: Crc32;
  /** In one pass over memory; without it, in two. */
  readonly crc32Copy?: Crc32Copy | undefined;
}

/** Copies and computes the checksum of the copy, as well as it goes. */
export function copierOf({ crc32, crc32Copy }: Checksums): Crc32Copy {
  return (
    crc32Copy ??
    ((target, offset, source, seed) => {
      target.set(source, offset);
      return crc32(target.subarray(offset, offset + source.length), seed);
    })
  );
}

/** How the payload of a frame travels. */
export const FrameFlag = flags(
  { DEFLATE: 1, ZSTD: 2 },
  { DEFLATE: 'the payload is compressed: raw DEFLATE', ZSTD: 'the payload is compressed: zstd' },
);

/** The first four bytes of a frame, `89 46 43 48` (`\x89FCH`). */
export const FRAME_MARK = 0x48434689;

/** What stands before the payload of every frame. */
export const FrameHeader = channelStruct({
  mark: u32('89 46 43 48'),
  kind: u16('kind of the message'),
  flags: { ...bits('how the payload travels', FrameFlag), ...shortField() },
  place: u32('frames that went before on this connection, modulo 2^32'),
  length: u32('bytes of the payload as they follow'),
  rawLength: u32('bytes of the payload before compression'),
  sequence: u64('place of the message in its direction of the channel, from 1; 0: outside of the order'),
  checksum: u32('CRC-32 of the payload as it follows, continued from the seed'),
  headerChecksum: u32('CRC-32 of the 32 bytes before, continued from the seed'),
});

/** Two bytes for a field of few bits. */
function shortField() {
  const { type, size, read, write } = u16('');
  return { type, size, read, write };
}

/** Bytes of {@link FrameHeader}. */
export const FRAME_HEADER_SIZE: number = FrameHeader.size;

/** The seed of the checksums of HELLO, which comes before there is a session. */
export const FIRST_SEED = 0;

/**
 * The seed of the checksums of all other frames. It is different for each session, connection and direction, so that a
 * frame of another one is refused like one that was changed.
 */
export function seedOf(crc32: Crc32, session: string, index: number, role: number): number {
  const bytes = new Uint8Array(18);
  bytes.set(Buffer.from(session, 'hex'));
  bytes[16] = index;
  bytes[17] = role;
  return crc32(bytes, 0);
}

/** A frame without its bytes. */
export interface FrameFields {
  readonly kind: number;
  readonly flags: number;
  readonly place: number;
  readonly length: number;
  readonly rawLength: number;
  readonly sequence: number;
  readonly checksum: number;
}

/** Writes a header to the start of `target`; `view` is of the same bytes. */
export function writeFrameHeader(
  target: Uint8Array,
  view: DataView,
  fields: FrameFields,
  crc32: Crc32,
  seed: number,
): void {
  const { at } = FrameHeader;
  view.setUint32(at.mark, FRAME_MARK, true);
  view.setUint16(at.kind, fields.kind, true);
  view.setUint16(at.flags, fields.flags, true);
  view.setUint32(at.place, fields.place, true);
  view.setUint32(at.length, fields.length, true);
  view.setUint32(at.rawLength, fields.rawLength, true);
  view.setUint32(at.sequence, fields.sequence % 0x1_0000_0000, true);
  view.setUint32(at.sequence + 4, Math.floor(fields.sequence / 0x1_0000_0000), true);
  view.setUint32(at.checksum, fields.checksum, true);
  view.setUint32(at.headerChecksum, crc32(target.subarray(0, at.headerChecksum), seed), true);
}

/**
 * The fields of the header at `at`, of which all bytes are there. Field by field, since this is done for every frame:
 * taking apart what {@link FrameHeader} reads costs several microseconds.
 */
export function readFrameFields(view: DataView, at: number): FrameFields {
  const from = FrameHeader.at;
  const [low, high] = [
    view.getUint32(at + from.sequence, true),
    view.getUint32(at + from.sequence + 4, true),
  ];
  return {
    kind: view.getUint16(at + from.kind, true),
    flags: view.getUint16(at + from.flags, true),
    place: view.getUint32(at + from.place, true),
    length: view.getUint32(at + from.length, true),
    rawLength: view.getUint32(at + from.rawLength, true),
    sequence: high * 0x1_0000_0000 + low,
    checksum: view.getUint32(at + from.checksum, true),
  };
}
