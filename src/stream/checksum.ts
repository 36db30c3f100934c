import { crc32 } from 'node:zlib';
import { RecordHeader, TRAILER_SIZE } from './format.ts';

/** CRC-32 as zlib computes it, continued from `seed`; 0 begins. */
export type Crc32 = (data: Uint8Array, seed: number) => number;

/** The one that Node has, for whoever hands in none. */
export const zlibCrc32: Crc32 = (data, seed) => crc32(data, seed);

/**
 * The running checksum: CRC-32, continued over the first 24 bytes of the header of each record and over its trailer,
 * which stands for the data. Leaving out `link` and `checksum` is essential: a CRC over a message and the CRC of that
 * message does not depend on the message, so everything would look right in any order.
 */
export class RunningChecksum {
  /** What the `link` of the next record has to be. */
  value: number;
  readonly #bytes = new Uint8Array(RecordHeader.at.link + TRAILER_SIZE);
  readonly #view = new DataView(this.#bytes.buffer);

  /** Starts with the checksum of the preamble. */
  constructor(value: number) {
    this.value = value;
  }

  /** A record with this header, and with data of this checksum, is over. */
  add(header: Uint8Array, dataChecksum: number): void {
    this.#bytes.set(header.subarray(0, RecordHeader.at.link));
    this.#view.setUint32(RecordHeader.at.link, dataChecksum, true);
    this.value = crc32(this.#bytes, this.value);
  }
}
