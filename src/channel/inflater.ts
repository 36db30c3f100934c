import { plain } from './bytes.ts';
import { ChannelError, messageOf } from './channel-error.ts';
import { compressionOf } from './compression.ts';
import { frameName } from './frame-check.ts';
import type { ParkedFrame } from './frame-reader.ts';

/** The payload of a compressed frame. @throws ChannelError when it is not what its header says */
export function inflate(frame: ParkedFrame): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const refuse = (why: string): void =>
      reject(new ChannelError('ERR_CHANNEL_MALFORMED', `${frameName(frame.kind)} ${why}`));
    const compression = compressionOf(frame.flags);
    if (compression === null) return refuse('is compressed by zstd, which this Node lacks');
    compression.decompress(frame.payload, frame.rawLength, (error, result) => {
      if (error !== null) refuse(`can't be decompressed: ${messageOf(error)}`);
      else if (result.length !== frame.rawLength) refuse('is shorter than it says');
      else resolve(plain(result));
    });
  });
}

/** How many frames are decompressed at once or wait for delivery afterwards: each may take MAX_PAYLOAD bytes. */
const AHEAD = 4;

/** Decompresses frames on the thread pool, a few of them before it is their turn. */
export class Inflater {
  readonly #done: () => void;
  readonly #failed: (error: unknown) => void;
  /** What has been begun: the bytes once they are there. */
  readonly #jobs = new Map<ParkedFrame, Uint8Array | null>();

  /** `done` is called whenever one more is ready. */
  constructor(done: () => void, failed: (error: unknown) => void) {
    this.#done = done;
    this.#failed = failed;
  }

  /** A frame that will have to be decompressed: begins with it if there is room. */
  prepare(frame: ParkedFrame): void {
    if (frame.flags !== 0 && this.#jobs.size < AHEAD) this.#begin(frame);
  }

  /** The payload of the frame whose turn it is; null: not yet, `done` follows. */
  take(frame: ParkedFrame): Uint8Array | null {
    if (frame.flags === 0) return frame.payload;
    if (!this.#jobs.has(frame)) this.#begin(frame);
    const bytes = this.#jobs.get(frame) ?? null;
    if (bytes !== null) this.#jobs.delete(frame);
    return bytes;
  }

  #begin(frame: ParkedFrame): void {
    this.#jobs.set(frame, null);
    inflate(frame).then((bytes) => {
      this.#jobs.set(frame, bytes);
      this.#done();
    }, this.#failed);
  }
}
