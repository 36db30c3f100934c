import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Errno } from '../errors/index.ts';
import { loadNative, type Native } from '../native/index.ts';
import { DiskFile } from './disk-file.ts';
import { JournalError, type JournalErrorCode } from './journal-error.ts';
import type { JournalFile, JournalFiles, JournalKey } from './journal-file.ts';
import { systemErrno } from './system-error.ts';

/** Only its owner reads a journal: it holds the token of the claims. */
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;
const { O_RDWR, O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_DIRECTORY } = constants;
const NAME = /^([0-9a-f]{32})-(sender|receiver)\.journal$/;
/** No journal is longer: a few records of at most about a megabyte. */
const MAX_FILE_SIZE = 16 * 1024 * 1024;

/** Journals as files of a directory, which is made when the first is. */
export class DiskJournalFiles implements JournalFiles {
  readonly name: string;
  readonly #native: Native;

  constructor(directory: string, native: Native = loadNative()) {
    this.name = directory;
    this.#native = native;
  }

  async create(key: JournalKey): Promise<JournalFile> {
    const path = this.#pathOf(key);
    await this.#attempt(path, () => makeDirectory(this.name));
    const handle = await this.#attempt(path, () =>
      open(path, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW, FILE_MODE),
    );
    return this.#locked(path, handle, () => syncDirectory(this.name));
  }

  async open(key: JournalKey): Promise<JournalFile> {
    const path = this.#pathOf(key);
    const handle = await this.#attempt(path, () => open(path, O_RDWR | O_APPEND | O_NOFOLLOW));
    return this.#locked(path, handle, async () => {});
  }

  async read(key: JournalKey): Promise<Uint8Array> {
    const path = this.#pathOf(key);
    const handle = await this.#attempt(path, () => open(path, O_RDONLY | O_NOFOLLOW));
    const file = new DiskFile(path, handle, MAX_FILE_SIZE);
    try {
      return await file.read();
    } finally {
      await file.close();
    }
  }

  async remove(key: JournalKey): Promise<void> {
    const path = this.#pathOf(key);
    // Whoever holds the lock is sure that nobody writes it.
    const file = await this.open(key);
    try {
      await this.#attempt(path, () => unlink(path));
    } finally {
      await file.close();
    }
  }

  async list(): Promise<readonly JournalKey[]> {
    const names = await this.#attempt(this.name, () => readdir(this.name)).catch(noneIfMissing);
    return names.toSorted().flatMap((name) => {
      const [, group, role] = NAME.exec(name) ?? [];
      if (group === undefined) return [];
      return [{ group, role: role === 'sender' ? 'sender' : 'receiver' }];
    });
  }

  #pathOf({ group, role }: JournalKey): string {
    const name = `${group}-${role}.journal`;
    if (NAME.test(name)) return join(this.name, name);
    throw new JournalError('ERR_JOURNAL_RECORD', 'the group must be 32 hex digits', { group });
  }

  async #locked(path: string, handle: FileHandle, prepare: () => Promise<void>): Promise<JournalFile> {
    try {
      const errno = -this.#native.flock(handle.fd);
      if (errno === Errno.EAGAIN) throw inUse(path);
      if (errno > 0) throw new JournalError('ERR_JOURNAL_ACCESS', `${path} can't be locked`, {}, { errno });
      await this.#attempt(path, prepare);
      return new DiskFile(path, handle, MAX_FILE_SIZE);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async #attempt<T>(path: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw translated(path, error);
    }
  }
}

/** Makes a directory and those above it, so that they survive a crash of the machine. */
async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: DIRECTORY_MODE });
  if (first === undefined) return;
  // Each new directory is an entry in the one above it, up to the first that had to be made.
  for (let made = path; ; made = dirname(made)) {
    await syncDirectory(dirname(made));
    if (made === first || made === dirname(made)) return;
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, O_RDONLY | O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function noneIfMissing(error: unknown): string[] {
  if (error instanceof JournalError && error.code === 'ERR_JOURNAL_MISSING') return [];
  throw error;
}

const CODES: ReadonlyMap<string, JournalErrorCode> = new Map([
  ['EEXIST', 'ERR_JOURNAL_EXISTS'],
  ['ENOENT', 'ERR_JOURNAL_MISSING'],
]);

/** What the operating system says, as a JournalError; anything else as it is. */
function translated(path: string, error: unknown): unknown {
  const system = systemErrno(error);
  if (system === null) return error;
  const code = CODES.get(system.name) ?? 'ERR_JOURNAL_ACCESS';
  const reason = error instanceof Error ? error.message : system.name;
  const message = `the journal ${path} can't be used: ${reason}`;
  return new JournalError(code, message, { path }, { errno: system.errno, cause: error });
}

function inUse(path: string): JournalError {
  const message = `the journal ${path} is in use by another process: wait for it, or end it`;
  return new JournalError('ERR_JOURNAL_BUSY', message, { path });
}
