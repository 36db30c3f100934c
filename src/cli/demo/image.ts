import { randomFillSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { UsageError } from '../outcome/usage-error.ts';

/** Who writes a stripe of the device's memory. `nobody` leaves what the file put there. */
export type StripeUser = 'mapping' | 'messages' | 'nobody';

const USERS: readonly StripeUser[] = ['mapping', 'messages', 'mapping', 'nobody'];
const LARGEST_STRIPE = 64 * 1024;
const STRIPES = 16;
const RANDOM_POOL = 64 * 1024;

/** One write that the guest makes. */
export interface Span {
  readonly offset: number;
  readonly data: Uint8Array;
}

/**
 * What the device's memory must contain, as the guest knows it: the file at first, then what the guest has written.
 * The memory is divided into stripes with one user each, because nobody could say in which order two of them write.
 */
export class Image {
  /** What the memory must contain now. */
  readonly model: Uint8Array;
  /** The file that the device loads. */
  readonly file: string;
  /** Bytes of the file. */
  readonly fileSize: number;
  readonly #stripe: number;
  readonly #random = randomFillSync(new Uint8Array(RANDOM_POOL));

  /** Throws UsageError when the file can't be read or is larger than the memory. */
  constructor(file: string, size: number) {
    const content = readFile(file);
    if (content.length > size) {
      throw new UsageError(`${file} has ${content.length} bytes and does not fit into ${size}`);
    }
    this.file = file;
    this.fileSize = content.length;
    this.model = new Uint8Array(size);
    this.model.set(content);
    this.#stripe = Math.min(LARGEST_STRIPE, size / STRIPES);
  }

  /** Makes up a write for one of the users, of at most `most` bytes, and notes it. */
  write(user: 'mapping' | 'messages', most: number): Span {
    const stripe = this.#pickStripe(user);
    const length = 1 + Math.floor(Math.random() * Math.min(most, this.#stripe));
    const offset = stripe * this.#stripe + Math.floor(Math.random() * (this.#stripe - length + 1));
    const from = Math.floor(Math.random() * (RANDOM_POOL - length + 1));
    const data = this.#random.subarray(from, from + length);
    this.model.set(data, offset);
    return { offset, data };
  }

  /** Compares with the file itself, where nobody has written. */
  compareWithFile(actual: Uint8Array): { readonly bytes: number; readonly different: number } {
    const content = readFile(this.file);
    let bytes = 0;
    let different = 0;
    for (let at = 0; at < content.length; at += this.#stripe) {
      if (this.#userOf(at / this.#stripe) !== 'nobody') continue;
      const expected = content.subarray(at, Math.min(at + this.#stripe, content.length));
      bytes += expected.length;
      different += differences(expected, actual.subarray(at, at + expected.length));
    }
    return { bytes, different };
  }

  #pickStripe(user: StripeUser): number {
    const stripes = this.model.length / this.#stripe;
    let stripe: number;
    do stripe = Math.floor(Math.random() * stripes);
    while (this.#userOf(stripe) !== user);
    return stripe;
  }

  #userOf(stripe: number): StripeUser {
    return USERS[stripe % USERS.length] ?? 'nobody';
  }
}

/** How many bytes differ; a missing one does. */
export function differences(expected: Uint8Array, actual: Uint8Array): number {
  if (Buffer.compare(expected, actual) === 0) return 0;
  let count = Math.abs(expected.length - actual.length);
  for (let i = 0; i < Math.min(expected.length, actual.length); i += 1) {
    if (expected[i] !== actual[i]) count += 1;
  }
  return count;
}

/** Makes a file of random bytes. */
export function makeFile(path: string, size: number): void {
  const chunk = new Uint8Array(Math.min(size, 16 * 1024 * 1024));
  for (let at = 0; at < size; at += chunk.length) {
    randomFillSync(chunk);
    writeFileSync(path, chunk.subarray(0, Math.min(chunk.length, size - at)), { flag: 'a' });
  }
}

function readFile(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UsageError(`${path} can't be read: ${error instanceof Error ? error.message : error}`);
  }
}
