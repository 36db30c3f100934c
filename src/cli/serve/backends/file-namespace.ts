import { createHash } from 'node:crypto';
import { close, fdatasync, fstat, open, read, type Stats, statSync, write } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import type { NamespaceBackend } from '../../../devices/index.ts';
import { Errno } from '../../../errors/index.ts';
import { loadNative, type Native } from '../../../native/index.ts';
import { StorageError } from './storage-error.ts';

/** Zeros are written so many bytes at a time. */
const ZEROS = new Uint8Array(1024 * 1024);

/** What `read` and `write` of node:fs have in common. */
type Move = (
  fd: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  position: number,
  done: (error: Error | null, count: number) => void,
) => void;

const openFile = promisify(open);
const statFile = promisify(fstat);
const closeFile = promisify(close);

/** How a {@link FileNamespace} may differ from the usual. */
export interface FileNamespaceOptions {
  /** Bytes of a logical block; 512 by default. */
  readonly blockSize?: 512 | 4096;
  readonly native?: Native;
}

/**
 * A namespace in a regular file. What was written is durable after a flush. The file is locked from
 * {@link FileNamespace.resume} to {@link FileNamespace.quiesce}: two servers can't use it at the same time, and one
 * may be started while the other still has it, as the destination of a migration.
 */
export class FileNamespace implements NamespaceBackend {
  readonly blocks: number;
  readonly blockSize: 512 | 4096;
  readonly synchronous = false;
  readonly volatileCache = true;
  /** A serial number that belongs to the file's path, so that a guest finds its disk again. */
  readonly serial: string;
  readonly #path: string;
  readonly #native: Native;
  /** Open and locked; null while it is somebody else's. */
  #file: number | null = null;
  #opening: Promise<void> | null = null;
  /** What is in progress. */
  readonly #operations = new Set<Promise<void>>();

  /** Looks at the file, and leaves it alone until {@link resume}. Throws StorageError ERR_STORAGE_FILE. */
  constructor(path: string, { blockSize = 512, native = loadNative() }: FileNamespaceOptions = {}) {
    this.#path = resolve(path);
    this.#native = native;
    this.blockSize = blockSize;
    this.blocks = blocksOf(this.#path, blockSize, statusOf(this.#path));
    this.serial = `FILE${createHash('sha1').update(this.#path).digest('hex').slice(0, 16).toUpperCase()}`;
  }

  read(offset: number, target: Uint8Array): Promise<void> {
    return this.#transfer(read, offset, target);
  }

  write(offset: number, data: Uint8Array): Promise<void> {
    return this.#transfer(write, offset, data);
  }

  async zero(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += ZEROS.length) {
      await this.write(offset + done, ZEROS.subarray(0, Math.min(ZEROS.length, length - done)));
    }
  }

  flush(): Promise<void> {
    return this.#follow(this.#flush(this.#use()));
  }

  /**
   * Waits for what is in progress, flushes, closes and unlocks. When the flush fails, the file stays open: what it
   * lacks is still known here.
   */
  async quiesce(): Promise<void> {
    await this.#opening;
    const file = this.#file;
    if (file === null) return;
    this.#file = null;
    // An operation on an fd that was closed could hit whatever file has its number next.
    await Promise.allSettled(this.#operations);
    try {
      await this.#flush(file);
    } catch (error) {
      this.#file = file;
      throw error;
    }
    await closeFile(file);
  }

  /** The lock belongs to what is open, so it passes on with that. */
  handOver(): readonly number[] {
    return this.#file === null ? [] : [this.#file];
  }

  takeOver([fd]: readonly number[]): void {
    if (fd !== undefined) this.#file = fd;
  }

  /** Opens and locks. Rejects with StorageError: ERR_STORAGE_BUSY while another server has it, ERR_STORAGE_FILE. */
  resume(): Promise<void> {
    if (this.#file !== null) return Promise.resolve();
    this.#opening ??= this.#open().finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  async #open(): Promise<void> {
    const file = await openFile(this.#path, 'r+').catch((error: unknown) => {
      throw unusable(this.#path, reasonOf(error), error);
    });
    try {
      this.#lock(file);
      // The size that the guest knows must still be there, and only now nobody else changes it.
      if (blocksOf(this.#path, this.blockSize, await statFile(file)) !== this.blocks)
        throw unusable(this.#path, 'its size has changed');
    } catch (error) {
      await closeFile(file);
      throw error;
    }
    this.#file = file;
  }

  #lock(fd: number): void {
    const result = this.#native.flock(fd);
    if (result === 0) return;
    if (result !== -Errno.EAGAIN) throw unusable(this.#path, `it can't be locked (errno ${-result})`);
    throw new StorageError(
      'ERR_STORAGE_BUSY',
      `${this.#path} is in use by another server: it is released when that one stops or its device has moved`,
      { path: this.#path },
    );
  }

  /** Moves all of `bytes`, which the system may do in several steps. */
  #transfer(move: Move, offset: number, bytes: Uint8Array): Promise<void> {
    const fd = this.#use();
    const moved = new Promise<void>((settle, reject) => {
      const next = (done: number): void => {
        move(fd, bytes, done, bytes.length - done, offset + done, (error, count) => {
          if (error !== null) reject(this.#failed('be accessed', error));
          else if (done + count === bytes.length) settle();
          else if (count === 0) reject(this.#failed('be read', new Error('it is shorter than it was')));
          else next(done + count);
        });
      };
      next(0);
    });
    return this.#follow(moved);
  }

  #flush(fd: number): Promise<void> {
    return new Promise((settle, reject) => {
      fdatasync(fd, (error) => {
        if (error === null) settle();
        else reject(this.#failed('be flushed', error));
      });
    });
  }

  #follow(operation: Promise<void>): Promise<void> {
    const ended = () => this.#operations.delete(operation);
    this.#operations.add(operation);
    operation.then(ended, ended);
    return operation;
  }

  #use(): number {
    if (this.#file !== null) return this.#file;
    throw new StorageError('ERR_STORAGE_RELEASED', `${this.#path} is not open here`, { path: this.#path });
  }

  #failed(what: string, error: unknown): StorageError {
    const message = `${this.#path} can't ${what}: ${reasonOf(error)}`;
    return new StorageError('ERR_STORAGE_IO', message, { path: this.#path }, error);
  }
}

function statusOf(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    throw unusable(path, reasonOf(error), error);
  }
}

function blocksOf(path: string, blockSize: number, status: Stats): number {
  if (!status.isFile()) throw unusable(path, 'it is no regular file');
  if (status.size === 0 || status.size % blockSize !== 0)
    throw unusable(path, `its ${status.size} bytes are not whole blocks of ${blockSize}`);
  return status.size / blockSize;
}

function unusable(path: string, reason: string, cause?: unknown): StorageError {
  return new StorageError('ERR_STORAGE_FILE', `${path} can't be used as a disk: ${reason}`, { path }, cause);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
