import { Errno, FerryError } from '../errors/index.ts';
import { JournalError } from './journal-error.ts';
import type { JournalFile, JournalFiles, JournalKey } from './journal-file.ts';

/** What a file is asked to do that can fail. */
export type FileOperation = 'write' | 'sync' | 'truncate';

/** How an operation fails. */
export interface Fault {
  /** What the operating system would say: ENOSPC, EIO. */
  readonly errno: number;
  /** Bytes of a write that get into the file all the same; 0 by default. */
  readonly written?: number;
}

/**
 * Which operations fail: asked before each, with how many of the same kind the file has seen before.
 */
export type FaultPlan = (operation: FileOperation, count: number, key: JournalKey) => Fault | null;

interface Content {
  /** What a process sees. */
  bytes: Uint8Array;
  /** What a crash of the machine leaves for certain. */
  synced: Uint8Array;
  lockedBy: MemoryFile | null;
  readonly counts: Map<FileOperation, number>;
}

/** Journals in memory, which fail as they are told, and lose what a crash would lose. */
export class MemoryJournalFiles implements JournalFiles {
  readonly name = 'memory';
  readonly #faults: FaultPlan;
  readonly #contents = new Map<string, Content>();

  constructor(faults: FaultPlan = () => null) {
    this.#faults = faults;
  }

  async create(key: JournalKey): Promise<JournalFile> {
    if (this.#contents.has(nameOf(key)))
      throw new JournalError('ERR_JOURNAL_EXISTS', `there is a journal ${nameOf(key)}`);
    const empty = new Uint8Array(0);
    const content: Content = { bytes: empty, synced: empty, lockedBy: null, counts: new Map() };
    this.#contents.set(nameOf(key), content);
    return this.#lock(key, content);
  }

  async open(key: JournalKey): Promise<JournalFile> {
    return this.#lock(key, this.#contentOf(key));
  }

  async read(key: JournalKey): Promise<Uint8Array> {
    return this.#contentOf(key).bytes;
  }

  async list(): Promise<readonly JournalKey[]> {
    return [...this.#contents.keys()].map(keyOf);
  }

  async remove(key: JournalKey): Promise<void> {
    if (this.#contentOf(key).lockedBy !== null)
      throw new JournalError('ERR_JOURNAL_BUSY', `${nameOf(key)} is in use`);
    this.#contents.delete(nameOf(key));
  }

  /** The process that has a journal open dies: what it wrote stays, also what was not synced. */
  die(key: JournalKey): void {
    const content = this.#contentOf(key);
    content.lockedBy?.kill();
    content.lockedBy = null;
  }

  /** The machine crashes: of what was written and not synced the first `kept` bytes stay, none by default. */
  crash(key: JournalKey, kept = 0): void {
    this.die(key);
    const content = this.#contentOf(key);
    const { bytes, synced } = content;
    content.bytes = bytes.length > synced.length ? bytes.slice(0, synced.length + kept) : synced;
    content.synced = content.bytes;
  }

  /** Puts other bytes in the place of a journal, such as damaged ones. */
  overwrite(key: JournalKey, bytes: Uint8Array): void {
    const content = this.#contentOf(key);
    content.bytes = bytes;
    content.synced = bytes;
  }

  #lock(key: JournalKey, content: Content): MemoryFile {
    if (content.lockedBy !== null) throw new JournalError('ERR_JOURNAL_BUSY', `${nameOf(key)} is in use`);
    content.lockedBy = new MemoryFile(nameOf(key), content, (operation) => {
      const count = content.counts.get(operation) ?? 0;
      content.counts.set(operation, count + 1);
      return this.#faults(operation, count, key);
    });
    return content.lockedBy;
  }

  #contentOf(key: JournalKey): Content {
    const content = this.#contents.get(nameOf(key));
    if (content === undefined) throw new JournalError('ERR_JOURNAL_MISSING', `there is no ${nameOf(key)}`);
    return content;
  }
}

class MemoryFile implements JournalFile {
  readonly name: string;
  readonly #content: Content;
  readonly #fault: (operation: FileOperation) => Fault | null;
  #alive = true;

  constructor(name: string, content: Content, fault: (operation: FileOperation) => Fault | null) {
    this.name = name;
    this.#content = content;
    this.#fault = fault;
  }

  kill(): void {
    this.#alive = false;
  }

  async read(): Promise<Uint8Array> {
    this.#requireAlive();
    return this.#content.bytes;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#requireAlive();
    const fault = this.#fault('write');
    const taken = fault === null ? bytes : bytes.subarray(0, fault.written ?? 0);
    this.#content.bytes = Buffer.concat([this.#content.bytes, taken]);
    if (fault !== null) throw failed('write', fault);
  }

  async sync(): Promise<void> {
    this.#requireAlive();
    const fault = this.#fault('sync');
    if (fault !== null) throw failed('sync', fault);
    this.#content.synced = this.#content.bytes;
  }

  async truncate(length: number): Promise<void> {
    this.#requireAlive();
    const fault = this.#fault('truncate');
    if (fault !== null) throw failed('truncate', fault);
    this.#content.bytes = this.#content.bytes.slice(0, length);
  }

  async close(): Promise<void> {
    if (this.#content.lockedBy === this) this.#content.lockedBy = null;
    this.#alive = false;
  }

  #requireAlive(): void {
    if (!this.#alive) throw new JournalError('ERR_JOURNAL_CLOSED', `whoever had ${this.name} open is gone`);
  }
}

function failed(operation: FileOperation, { errno }: Fault): FerryError {
  return new FerryError('ERR_FILE', `${operation} failed as planned`, { errno: errno || Errno.EIO });
}

function nameOf({ group, role }: JournalKey): string {
  return `${group}-${role}`;
}

function keyOf(name: string): JournalKey {
  const [group = '', role] = name.split('-');
  return { group, role: role === 'sender' ? 'sender' : 'receiver' };
}
