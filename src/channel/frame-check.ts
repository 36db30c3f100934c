import { ChannelError } from './channel-error.ts';
import { maxPayload } from './codec.ts';
import { controlCodec, isControl, isOrdered } from './control-messages.ts';
import {
  type Crc32,
  FRAME_MARK,
  type FrameFields,
  FrameFlag,
  FrameHeader,
  readFrameFields,
} from './frame.ts';
import type { KindDeclaration } from './kind.ts';
import { messageCodec } from './message-codec.ts';

/** The name of a kind of frame. */
export function frameName(kind: number): string {
  return isControl(kind) ? controlCodec.kindName(kind) : messageCodec.kindName(kind);
}

/**
 * Reads the header at `at` and checks all that can be checked before the payload: nothing is allocated and no length is
 * believed before that.
 * @throws ChannelError
 */
export function readFrameHeader(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  place: number,
  crc32: Crc32,
  seed: number,
): FrameFields {
  if (view.getUint32(at, true) !== FRAME_MARK) throw foreign(place);
  const checked = bytes.subarray(at, at + FrameHeader.at.headerChecksum);
  if (view.getUint32(at + FrameHeader.at.headerChecksum, true) !== crc32(checked, seed)) {
    throw new ChannelError('ERR_CHANNEL_CHECKSUM', `the header of frame ${place} was changed on the way`);
  }
  const frame = readFrameFields(view, at);
  if (frame.place !== place % 0x1_0000_0000) {
    const why = `frame ${frame.place} came as frame ${place}: frames were lost, repeated or moved`;
    throw new ChannelError('ERR_CHANNEL_ORDER', why);
  }
  checkForm(frame);
  return frame;
}

function foreign(place: number): ChannelError {
  return place === 0
    ? new ChannelError('ERR_CHANNEL_VERSION', 'this is no Ferry channel: its first bytes are not a frame')
    : new ChannelError(
        'ERR_CHANNEL_CHECKSUM',
        `frame ${place} does not begin as frames do: bytes were changed or lost`,
      );
}

/** Whether kind, lengths, flags and sequence make sense together. */
function checkForm({ kind, flags, length, rawLength, sequence }: FrameFields): void {
  const declared: KindDeclaration | undefined = isControl(kind)
    ? controlCodec.kindOf(kind)
    : messageCodec.kindOf(kind);
  if (declared === undefined) throw malformed(kind, 'is unknown here');
  if (rawLength > maxPayload(declared)) throw malformed(kind, `can't have ${rawLength} bytes`);
  const compressed = flags === FrameFlag.DEFLATE || flags === FrameFlag.ZSTD;
  if (flags !== 0 && !compressed) throw malformed(kind, 'is compressed in an unknown way');
  if (compressed ? length >= rawLength || isControl(kind) : length !== rawLength) {
    throw malformed(kind, `has contradictory lengths, ${length} and ${rawLength}`);
  }
  if (isOrdered(kind) !== sequence > 0 || !Number.isSafeInteger(sequence)) {
    throw malformed(kind, `has an impossible place in the order, ${sequence}`);
  }
}

function malformed(kind: number, why: string): ChannelError {
  return new ChannelError('ERR_CHANNEL_MALFORMED', `${frameName(kind)} ${why}`, {
    context: { message: frameName(kind) },
  });
}
