import { ChannelError } from './channel-error.ts';
import type { Sink } from './file-sink.ts';
import { readFully, type Source } from './file-source.ts';
import { isSealed, SEAL_HEADER_SIZE, Seal, type SealKey, TAG_SIZE } from './seal.ts';

/** Encrypts what is written to `inner`. */
export async function sealedSink(inner: Sink, key: SealKey): Promise<Sink> {
  const seal = await Seal.create(key);
  const chunk = new Uint8Array(seal.chunkSize);
  let filled = 0;
  let begun = false;
  const flush = async (last: boolean): Promise<void> => {
    if (!begun) await inner.write(seal.header);
    begun = true;
    await inner.write(seal.encrypt(chunk.subarray(0, filled), last));
    filled = 0;
  };
  return {
    name: inner.name,
    write: async (bytes) => {
      for (let at = 0; at < bytes.length; ) {
        // A full chunk waits for the next byte: only then it is known not to be the last.
        if (filled === chunk.length) await flush(false);
        const count = Math.min(chunk.length - filled, bytes.length - at);
        chunk.set(bytes.subarray(at, at + count), filled);
        filled += count;
        at += count;
      }
    },
    finish: async () => {
      await flush(true);
      await inner.finish();
    },
    discard: () => inner.discard(),
  };
}

/**
 * What is in a source, decrypted if it is encrypted.
 * @throws ChannelError ERR_CHANNEL_KEY when it is and there is no key, or the other way round
 */
export async function openedSource(inner: Source, key: SealKey | null): Promise<Source> {
  const head = new Uint8Array(SEAL_HEADER_SIZE);
  const length = await readFully(inner, head);
  const start = head.subarray(0, length);
  if (isSealed(start)) {
    if (length < SEAL_HEADER_SIZE) throw new ChannelError('ERR_CHANNEL_CUT', `${inner.name} ends too early`);
    if (key === null)
      throw new ChannelError('ERR_CHANNEL_KEY', `${inner.name} is encrypted: give its passphrase or key`);
    return new SealedSource(inner, await Seal.open(start, key), key);
  }
  if (key !== null)
    throw new ChannelError('ERR_CHANNEL_KEY', `${inner.name} is not encrypted: it takes no key`);
  return withStart(inner, start);
}

/** A source of which the first bytes have been read already. */
function withStart(inner: Source, start: Uint8Array): Source {
  let left = start;
  const { rewind } = inner;
  return {
    name: inner.name,
    read: async (into) => {
      if (left.length === 0) return inner.read(into);
      const count = Math.min(left.length, into.length);
      into.set(left.subarray(0, count));
      left = left.subarray(count);
      return count;
    },
    rewind:
      rewind === null
        ? null
        : () => {
            left = new Uint8Array(0);
            rewind();
          },
    close: () => inner.close(),
  };
}

/** Decrypts chunk by chunk; nothing is handed out that has not been verified. */
class SealedSource implements Source {
  readonly name: string;
  readonly rewind: (() => void) | null;
  readonly #inner: Source;
  readonly #key: SealKey;
  #seal: Seal;
  /** The stored chunk that comes next, and the one after it: without that the first is the last. */
  #stored: Uint8Array | null = null;
  #plain: Uint8Array = new Uint8Array(0);
  #over = false;
  #rewound = false;

  constructor(inner: Source, seal: Seal, key: SealKey) {
    this.name = inner.name;
    this.#inner = inner;
    this.#seal = seal;
    this.#key = key;
    const { rewind } = inner;
    this.rewind = rewind === null ? null : () => this.#rewind(rewind);
  }

  async read(into: Uint8Array): Promise<number> {
    if (this.#rewound) await this.#reopen();
    if (this.#plain.length === 0 && !this.#over) await this.#next();
    const count = Math.min(this.#plain.length, into.length);
    into.set(this.#plain.subarray(0, count));
    this.#plain = this.#plain.subarray(count);
    return count;
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async #next(): Promise<void> {
    const current = this.#stored ?? (await this.#readChunk());
    if (current.length < TAG_SIZE) throw new ChannelError('ERR_CHANNEL_CUT', `${this.name} ends too early`);
    const following = await this.#readChunk();
    this.#over = following.length === 0;
    this.#stored = following;
    this.#plain = this.#seal.decrypt(current, this.#over);
  }

  async #readChunk(): Promise<Uint8Array> {
    const stored = new Uint8Array(this.#seal.chunkSize + TAG_SIZE);
    return stored.subarray(0, await readFully(this.#inner, stored));
  }

  #rewind(rewind: () => void): void {
    rewind();
    this.#rewound = true;
    this.#stored = null;
    this.#plain = new Uint8Array(0);
    this.#over = false;
  }

  async #reopen(): Promise<void> {
    this.#rewound = false;
    const header = new Uint8Array(SEAL_HEADER_SIZE);
    await readFully(this.#inner, header);
    this.#seal = await Seal.open(header, this.#key);
  }
}
