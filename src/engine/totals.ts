/** What a COMPLETE says of one device. */
export interface Total {
  readonly device: number;
  readonly bytes: bigint;
  readonly checksum: number;
}

/**
 * Counts the bytes of each device, and their CRC-32. Within one process nothing lies between the two sides: there
 * `crc32` is null, and the checksum 0.
 */
export class Totals {
  readonly #counts: { bytes: number; checksum: number }[];
  readonly #crc32: ((data: Uint8Array, seed: number) => number) | null;

  constructor(devices: number, crc32: ((data: Uint8Array, seed: number) => number) | null) {
    this.#counts = Array.from({ length: devices }, () => ({ bytes: 0, checksum: 0 }));
    this.#crc32 = crc32;
  }

  /** Some bytes of a device. */
  add(device: number, chunk: Uint8Array): void {
    const count = this.#counts[device];
    if (count === undefined) return;
    count.bytes += chunk.length;
    if (this.#crc32 !== null) count.checksum = this.#crc32(chunk, count.checksum);
  }

  /** All of them. */
  get rows(): readonly Total[] {
    return this.#counts.map(({ bytes, checksum }, device) => ({ device, bytes: BigInt(bytes), checksum }));
  }
}
