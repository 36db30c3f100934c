import { createCipheriv, createDecipheriv, hkdfSync, randomBytes, scrypt } from 'node:crypto';
import { ChannelError } from './channel-error.ts';
import { channelStruct, u8, u16, u32 } from './layout.ts';

/** What a file is encrypted with. */
export type SealKey =
  | { readonly passphrase: string }
  /** The content of a key file: at least {@link MIN_KEY_BYTES} random bytes. */
  | { readonly key: Uint8Array };

/** The fewest bytes of a key file. */
export const MIN_KEY_BYTES = 32;

/** The first eight bytes of an encrypted file, `89 46 45 4e 43 52 0d 0a` (`\x89FENCR\r\n`), as two words. */
const MAGIC = { magic: 0x4e454689, newline: 0x0a0d5243 } as const;

/** How the key is derived from what the user has. */
export const Derivation = { SCRYPT: 1, HKDF: 2 } as const;

/** What an encrypted file begins with; {@link SALT_SIZE} bytes of salt and {@link PREFIX_SIZE} of nonce follow. */
export const SealHeader = channelStruct({
  magic: u32('89 46 45 4e'),
  newline: u32('43 52 0d 0a'),
  version: u16('1'),
  derivation: u8('of the key: 1 scrypt of a passphrase, 2 HKDF-SHA256 of a key file'),
  cost: u8('scrypt: binary logarithm of N; otherwise 0'),
  blocks: u8('scrypt: r; otherwise 0'),
  lanes: u8('scrypt: p; otherwise 0'),
  chunk: u16('bytes of a chunk before encryption, in units of 4096'),
});

/** Random bytes that make the key of each file another. */
export const SALT_SIZE = 32;
/** Random bytes that every nonce begins with. */
export const PREFIX_SIZE = 7;
/** Everything before the first chunk. */
export const SEAL_HEADER_SIZE: number = SealHeader.size + SALT_SIZE + PREFIX_SIZE;
/** Bytes of the tag after each chunk (AES-GCM, NIST SP 800-38D). */
export const TAG_SIZE = 16;

const CHUNK_UNIT = 4096;
/** 256 KiB: large enough that the set-up of the cipher does not count. */
const CHUNK_UNITS = 64;
/** 32 MiB and about a third of a second: the OWASP recommendation for scrypt with this much memory. */
const SCRYPT = { cost: 15, blocks: 8, lanes: 3 } as const;
/** The most that a file may demand for its key: 128 MiB. */
const MOST = { cost: 17, blocks: 8, lanes: 4 } as const;

/** Encrypts or decrypts the chunks of one file, in their order. */
export class Seal {
  /** What precedes the first chunk. It is authenticated together with every chunk. */
  readonly header: Uint8Array;
  /** Bytes of a chunk before encryption; only the last may have fewer. */
  readonly chunkSize: number;
  readonly #key: Uint8Array;
  readonly #nonce = Buffer.alloc(12);
  #chunks = 0;

  private constructor(header: Uint8Array, key: Uint8Array) {
    this.header = header;
    this.#key = key;
    this.chunkSize = SealHeader.read(viewOf(header), 0).chunk * CHUNK_UNIT;
    this.#nonce.set(header.subarray(-PREFIX_SIZE));
  }

  /** For a new file. @throws ChannelError ERR_CHANNEL_KEY for a key that is too short */
  static async create(key: SealKey): Promise<Seal> {
    const header = new Uint8Array(SEAL_HEADER_SIZE);
    const scrypts = 'passphrase' in key;
    const { cost, blocks, lanes } = scrypts ? SCRYPT : { cost: 0, blocks: 0, lanes: 0 };
    const derivation = scrypts ? Derivation.SCRYPT : Derivation.HKDF;
    SealHeader.write(viewOf(header), 0, {
      ...{ ...MAGIC, version: 1, derivation, cost, blocks, lanes, chunk: CHUNK_UNITS },
    });
    header.set(randomBytes(SALT_SIZE + PREFIX_SIZE), SealHeader.size);
    return new Seal(header, await derive(header, key));
  }

  /** For a file with this header. @throws ChannelError ERR_CHANNEL_KEY, ERR_CHANNEL_MALFORMED */
  static async open(header: Uint8Array, key: SealKey): Promise<Seal> {
    return new Seal(header, await derive(header, key));
  }

  /** The next chunk as it is stored, tag included. Only the last has `last`, so that a shortened file is noticed. */
  encrypt(chunk: Uint8Array, last: boolean): Uint8Array {
    const cipher = createCipheriv('aes-256-gcm', this.#key, this.#nextNonce(last));
    cipher.setAAD(this.header);
    return Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()]);
  }

  /** The content of the next chunk. @throws ChannelError ERR_CHANNEL_KEY for the first, ERR_CHANNEL_CHECKSUM after it */
  decrypt(stored: Uint8Array, last: boolean): Uint8Array {
    const first = this.#chunks === 0;
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, this.#nextNonce(last));
      decipher.setAAD(this.header);
      decipher.setAuthTag(stored.subarray(-TAG_SIZE));
      return Buffer.concat([decipher.update(stored.subarray(0, -TAG_SIZE)), decipher.final()]);
    } catch (cause) {
      if (first)
        throw new ChannelError('ERR_CHANNEL_KEY', 'the key is wrong, or the file was changed', { cause });
      const why = `chunk ${this.#chunks} of the encrypted file was changed, moved or cut off`;
      throw new ChannelError('ERR_CHANNEL_CHECKSUM', why, { cause });
    }
  }

  /** STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015): prefix, number of the chunk, and whether it is the last. */
  #nextNonce(last: boolean): Uint8Array {
    this.#nonce.writeUInt32BE(this.#chunks, PREFIX_SIZE);
    this.#nonce[PREFIX_SIZE + 4] = last ? 1 : 0;
    this.#chunks += 1;
    return this.#nonce;
  }
}

/** Whether bytes are the beginning of an encrypted file; at least 8 are needed. */
export function isSealed(bytes: Uint8Array): boolean {
  if (bytes.length < 8) return false;
  const view = viewOf(bytes);
  return view.getUint32(0, true) === MAGIC.magic && view.getUint32(4, true) === MAGIC.newline;
}

async function derive(header: Uint8Array, key: SealKey): Promise<Uint8Array> {
  const { version, derivation, cost, blocks, lanes, chunk } = SealHeader.read(viewOf(header), 0);
  const salt = header.subarray(SealHeader.size, SealHeader.size + SALT_SIZE);
  if (version !== 1) throw malformed(`has version ${version} of the encryption, which is unknown here`);
  if (chunk === 0 || chunk > CHUNK_UNITS) throw malformed('has chunks of a size that is not used');
  if (derivation === Derivation.HKDF) return fromKeyFile(key, salt);
  if (derivation !== Derivation.SCRYPT) throw malformed('derives its key in an unknown way');
  const sound =
    cost >= 1 &&
    cost <= MOST.cost &&
    blocks >= 1 &&
    blocks <= MOST.blocks &&
    lanes >= 1 &&
    lanes <= MOST.lanes;
  if (!sound) throw malformed('demands too much work for its key');
  if (!('passphrase' in key))
    throw new ChannelError('ERR_CHANNEL_KEY', 'the file wants a passphrase, not a key file');
  if (key.passphrase === '') throw new ChannelError('ERR_CHANNEL_KEY', 'the passphrase is empty');
  return fromPassphrase(key.passphrase, salt, { N: 2 ** cost, r: blocks, p: lanes });
}

function fromKeyFile(key: SealKey, salt: Uint8Array): Uint8Array {
  if (!('key' in key))
    throw new ChannelError('ERR_CHANNEL_KEY', 'the file wants a key file, not a passphrase');
  if (key.key.length < MIN_KEY_BYTES) {
    const how = `make one: head -c ${MIN_KEY_BYTES} /dev/urandom > ferry.key`;
    throw new ChannelError(
      'ERR_CHANNEL_KEY',
      `a key file has at least ${MIN_KEY_BYTES} random bytes; ${how}`,
    );
  }
  return new Uint8Array(hkdfSync('sha256', key.key, salt, 'ferry saved state 1', 32));
}

function fromPassphrase(
  passphrase: string,
  salt: Uint8Array,
  cost: { readonly N: number; readonly r: number; readonly p: number },
): Promise<Uint8Array> {
  const maxmem = 256 * 1024 * 1024;
  return new Promise((resolve, reject) => {
    scrypt(passphrase.normalize('NFC'), salt, 32, { ...cost, maxmem }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

function malformed(why: string): ChannelError {
  return new ChannelError('ERR_CHANNEL_MALFORMED', `the encrypted file ${why}`);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
