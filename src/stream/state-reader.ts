import type { Crc32 } from './checksum.ts';
import type { DeviceImage } from './device-image.ts';
import { requireSoundImage } from './image-header.ts';
import { RecordParser } from './record-parser.ts';
import { StateLoader } from './state-loader.ts';
import { StreamError } from './stream-error.ts';

/**
 * Loads the state of a device from a stream that arrives in pieces of any size, verifying everything as it arrives.
 * The bytes of blocks are written at once; the fields are applied the moment the END record is verified. After the
 * first error every call throws it again, and the device has to be reset.
 */
export class StateReader {
  readonly #loader: StateLoader;
  readonly #parser: RecordParser;
  #closed = false;
  #failure: { readonly error: unknown } | null = null;

  /** Throws `ERR_STREAM_SCHEMA` for an image that contradicts itself. `dataCrc32`: a faster one than Node's. */
  constructor(image: DeviceImage, dataCrc32?: Crc32) {
    requireSoundImage(image);
    this.#loader = new StateLoader(image);
    this.#parser = new RecordParser(this.#loader, dataCrc32);
  }

  /** Whether the whole state has arrived, was verified and is in the device. */
  get complete(): boolean {
    return this.#loader.complete && this.#failure === null;
  }

  /** The next bytes of the state; they may be reused afterwards. Throws {@link StreamError}. */
  write(bytes: Uint8Array): void {
    this.#requireSound();
    try {
      this.#parser.write(bytes);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  /** No more bytes will come (RESUMING is being left). Throws what went wrong, or `ERR_STREAM_INCOMPLETE`. */
  finish(): void {
    this.#requireSound();
    if (this.#loader.complete) return;
    throw new StreamError(
      'ERR_STREAM_INCOMPLETE',
      `the state ends too early, in ${this.#parser.place}; send the rest, or reset the device`,
      this.#parser.offset,
    );
  }

  /** Ends the session, complete or not. */
  close(): void {
    this.#closed = true;
  }

  #requireSound(): void {
    if (this.#closed) throw new StreamError('ERR_STREAM_CLOSED', 'the session is over', this.#parser.offset);
    if (this.#failure !== null) throw this.#failure.error;
  }
}
