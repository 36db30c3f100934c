import { Errno, errnoName } from '../../errors/index.ts';
import type { Native } from '../../native/index.ts';
import { type DirtyRun, type ImageBlock, qualifiedName } from '../../stream/index.ts';
import type { MemoryDeclaration } from './declarations.ts';
import { PageTracker } from './page-tracker.ts';
import { DeclaredStateError } from './state-error.ts';

/** Up to here a loop over bytes beats the views that a bulk copy needs, and allocates nothing. */
const SMALL = 32;
const READ_WRITE = 3;

/**
 * A memory block of a device: private memory, or a sealed memfd that a client can map as (part of) a BAR.
 *
 * Changes made through {@link write} and {@link fill} migrate by themselves; after writing into {@link bytes} call
 * {@link markDirty}. Once the fd has been given away ({@link expose}) clients write unseen; then, while a migration
 * goes on, the block keeps a copy of what was sent and compares.
 */
export class MemoryBlock implements ImageBlock {
  /** The name in the declaration. */
  readonly key: string;
  /** The name in the image: the part's, a dot and the key, or just the key. */
  readonly name: string;
  /** Bytes; a multiple of 4 KiB. */
  readonly size: number;
  /** The first version of the state that has it. */
  readonly since: number;
  readonly #onReset: 'clear' | 'keep';
  #bytes: Uint8Array | null = null;
  #shared = false;
  #materialized = false;
  #backing: { readonly native: Native; readonly fd: number; readonly buffer: ArrayBuffer } | null = null;
  #exposed = false;
  #tracker: PageTracker | null = null;

  constructor(key: string, declaration: MemoryDeclaration, part = '') {
    this.key = key;
    this.name = qualifiedName(part, key);
    this.size = declaration.size;
    this.since = declaration.since;
    this.#onReset = declaration.onReset;
  }

  /**
   * The memory itself. Before {@link materialize} a block that is to be shared has provisional memory, whose content
   * is kept but not its address: take `bytes` anew afterwards.
   */
  get bytes(): Uint8Array {
    this.#bytes ??= allocate(this.name, this.size);
    return this.#bytes;
  }

  /** Asks for memory that a client can map. Only before {@link materialize}. */
  share(): void {
    if (this.#materialized) {
      throw new DeclaredStateError(
        'ERR_STATE_DECLARATION',
        `block ${this.name} cannot be shared any more: its memory is in use; share it where the BAR is declared`,
        { block: this.name },
      );
    }
    this.#shared = true;
  }

  /**
   * Settles where the memory lives: in a memfd sealed against shrinking if {@link share} was asked for and there is
   * a `native`, otherwise private. Later calls do nothing. Throws `ERR_STATE_MEMORY` when the system refuses.
   */
  materialize(native: Native | null): void {
    if (this.#materialized) return;
    if (this.#shared && native !== null) this.#mapShared(native);
    this.#materialized = true;
  }

  /** The memfd, owned by the block; null for private memory. Give it away only through {@link expose}. */
  get fd(): number | null {
    return this.#backing?.fd ?? null;
  }

  /** Whether a client may hold a mapping, and so write unseen. */
  get exposed(): boolean {
    return this.#exposed;
  }

  /** The memfd, to be sent to a client: from now on, for good, writes may go unseen. Null for private memory. */
  expose(): number | null {
    if (this.#backing === null) return null;
    if (!this.#exposed) this.#tracker?.keepCopy();
    this.#exposed = true;
    return this.#backing.fd;
  }

  /** Copies `length` bytes at `offset` to `target[at...]`; by default as many as fit. */
  read(offset: number, target: Uint8Array, at = 0, length: number = target.length - at): void {
    this.#check(offset, length);
    copy(this.bytes, offset, target, at, length);
  }

  /** Copies `length` bytes of `source[at...]` to `offset`; by default all of them. */
  write(offset: number, source: Uint8Array, at = 0, length: number = source.length - at): void {
    this.#check(offset, length);
    copy(source, at, this.bytes, offset, length);
    this.#tracker?.mark(offset, length);
  }

  /** Sets `length` bytes from `offset` to `value`; by default all to the end. */
  fill(value: number, offset = 0, length: number = this.size - offset): void {
    this.#check(offset, length);
    this.bytes.fill(value, offset, offset + length);
    this.#tracker?.mark(offset, length);
  }

  /** Says that `length` bytes at `offset` of {@link bytes} were written. */
  markDirty(offset: number, length: number): void {
    this.#check(offset, length);
    this.#tracker?.mark(offset, length);
  }

  /** Fills the block with zeros unless it was declared to be kept. */
  reset(): void {
    if (this.#onReset === 'clear' && this.#bytes !== null) this.fill(0);
  }

  track(): void {
    this.#tracker = new PageTracker(this.bytes);
    if (this.#exposed) this.#tracker.keepCopy();
  }

  untrack(): void {
    this.#tracker = null;
  }

  refresh(): void {
    this.#tracker?.refresh();
  }

  get dirtyBytes(): number {
    return this.#tracker?.dirtyBytes ?? 0;
  }

  takeDirty(limit: number): DirtyRun | null {
    return this.#tracker?.take(limit) ?? null;
  }

  loaded(offset: number, length: number): void {
    this.markDirty(offset, length);
  }

  /**
   * Goes on with the memory behind `fd`, which another process has shared; what was here is given back. The fd is the
   * block's from then on. Throws `ERR_STATE_MEMORY` when it can't be mapped, and closes it.
   */
  adopt(native: Native, fd: number, exposed: boolean): void {
    const buffer = native.map(fd, 0, this.size, READ_WRITE);
    if (typeof buffer === 'number') {
      native.close(fd);
      throw refused(this.name, this.size, 'mmap', -buffer);
    }
    const before = this.#backing;
    this.#bytes = new Uint8Array(buffer);
    this.#backing = { native, fd, buffer };
    this.#exposed = exposed;
    if (before === null) return;
    native.unmap(before.buffer);
    native.close(before.fd);
  }

  /** Gives back the memory; the block is not used afterwards. */
  close(): void {
    this.#tracker = null;
    this.#materialized = true;
    this.#bytes = new Uint8Array(0);
    if (this.#backing === null) return;
    const { native, fd, buffer } = this.#backing;
    this.#backing = null;
    native.unmap(buffer);
    native.close(fd);
  }

  #mapShared(native: Native): void {
    const fd = native.memfd(`ferry-${this.name}`, this.size, true);
    if (fd < 0) throw refused(this.name, this.size, 'memfd_create', -fd);
    const buffer = native.map(fd, 0, this.size, READ_WRITE);
    if (typeof buffer === 'number') {
      native.close(fd);
      throw refused(this.name, this.size, 'mmap', -buffer);
    }
    const provisional = this.#bytes;
    this.#bytes = new Uint8Array(buffer);
    if (provisional !== null) this.#bytes.set(provisional);
    this.#backing = { native, fd, buffer };
  }

  #check(offset: number, length: number): void {
    if (offset >= 0 && length >= 0 && offset + length <= this.size && Number.isSafeInteger(offset + length))
      return;
    throw new DeclaredStateError(
      'ERR_STATE_RANGE',
      `block ${this.name} has ${this.size} bytes; ${length} bytes at ${offset} lie outside`,
      { block: this.name, offset, length },
    );
  }
}

function copy(from: Uint8Array, at: number, to: Uint8Array, toAt: number, length: number): void {
  if (length > SMALL) {
    to.set(from.subarray(at, at + length), toAt);
    return;
  }
  for (let i = 0; i < length; i += 1) to[toAt + i] = from[at + i] ?? 0;
}

function allocate(name: string, size: number): Uint8Array {
  try {
    return new Uint8Array(size);
  } catch {
    throw refused(name, size, 'allocation', Errno.ENOMEM);
  }
}

function refused(name: string, size: number, what: string, errno: number): DeclaredStateError {
  return new DeclaredStateError(
    'ERR_STATE_MEMORY',
    `block ${name}: ${what} of ${size} bytes failed with ${errnoName(errno)}`,
    { block: name, size },
    errno,
  );
}
