import { crc32 } from 'node:zlib';
import { RecordHeader } from './format.ts';

/**
 * The running checksum after a record: CRC-32, continued over the first 24 bytes of its header and over its trailer,
 * which stands for the data. Leaving out `link` and `checksum` is essential: a CRC over a message and the CRC of that
 * message does not depend on the message, so everything would look right in any order.
 */
export function nextLink(link: number, header: Uint8Array, trailer: Uint8Array): number {
  return crc32(trailer, crc32(header.subarray(0, RecordHeader.at.link), link));
}
