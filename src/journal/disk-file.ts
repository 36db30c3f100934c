import type { FileHandle } from 'node:fs/promises';
import { Errno, FerryError } from '../errors/index.ts';
import type { JournalFile } from './journal-file.ts';
import { fileError } from './system-error.ts';

/** A file that is open for appending, and locked by its descriptor. What fails is a FerryError with the errno. */
export class DiskFile implements JournalFile {
  readonly name: string;
  readonly #handle: FileHandle;
  readonly #limit: number;
  #open = true;

  /** `handle` is this file's from now on; nothing longer than `limit` bytes is read. */
  constructor(name: string, handle: FileHandle, limit: number) {
    this.name = name;
    this.#handle = handle;
    this.#limit = limit;
  }

  read(): Promise<Uint8Array> {
    return this.#attempt(async () => {
      const { size } = await this.#handle.stat();
      if (size > this.#limit) throw this.#tooLong(size);
      const bytes = new Uint8Array(size);
      let at = 0;
      for (let count = -1; at < size && count !== 0; at += count) {
        count = (await this.#handle.read(bytes, at, size - at, at)).bytesRead;
      }
      return bytes.subarray(0, at);
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#attempt(async () => {
      for (let at = 0; at < bytes.length; ) at += (await this.#handle.write(bytes, at)).bytesWritten;
    });
  }

  sync(): Promise<void> {
    return this.#attempt(() => this.#handle.datasync());
  }

  truncate(length: number): Promise<void> {
    return this.#attempt(() => this.#handle.truncate(length));
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#handle.close();
  }

  async #attempt<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw fileError(this.name, error);
    }
  }

  #tooLong(size: number): FerryError {
    const message = `${this.name} is too long for a journal`;
    return new FerryError('ERR_FILE', message, { errno: Errno.EFBIG, context: { size } });
  }
}
