import { type FieldType, PAGE_SIZE } from '../../stream/index.ts';
import { DeclaredStateError } from './state-error.ts';

/** What every declaration may say. */
export interface DeclarationOptions {
  /** The first version of the state that has it; 1 by default. */
  readonly since?: number;
}

/** Options of a single value. */
export interface ScalarOptions<V> extends DeclarationOptions {
  /** The value after reset; 0, or false, by default. */
  readonly initial?: V;
}

/** Options of a fixed number of values. */
export interface ArrayOptions<V> extends DeclarationOptions {
  /** Number of elements, 1 or more. */
  readonly length: number;
  /** The elements after reset: one value for all, or a list of exactly `length`; 0 by default. */
  readonly initial?: V | ArrayLike<V>;
}

/** Options of {@link bytes}. */
export interface BytesOptions extends DeclarationOptions {
  /** The bytes after reset, exactly as many as declared; all zero by default. */
  readonly initial?: Uint8Array;
}

/** Options of {@link memory}. */
export interface MemoryOptions extends DeclarationOptions {
  /** What a reset does to it: `clear` (the default) fills it with zeros, `keep` leaves it alone. */
  readonly onReset?: 'clear' | 'keep';
}

/** A field with one value, which is assigned: `state.ticks += 1`. */
export interface ScalarDeclaration<V> {
  readonly kind: 'scalar';
  readonly type: FieldType;
  readonly since: number;
  readonly initial: V;
}

/** A field with several values: a typed array whose elements are assigned. */
export interface ArrayDeclaration<V> {
  readonly kind: 'array';
  readonly type: FieldType;
  readonly count: number;
  readonly since: number;
  /** The live view of `count` elements at `offset` of the state's buffer. */
  view(buffer: ArrayBuffer, offset: number): V;
  /** Sets a view's elements to what they are after reset. */
  clear(view: V): void;
}

/** A memory block. */
export interface MemoryDeclaration {
  readonly kind: 'memory';
  readonly size: number;
  readonly since: number;
  readonly onReset: 'clear' | 'keep';
}

/** Declares an 8-bit register, or with `length` a Uint8Array of them. Assigned values wrap as in C. */
export function u8(options?: ScalarOptions<number>): ScalarDeclaration<number>;
export function u8(options: ArrayOptions<number>): ArrayDeclaration<Uint8Array>;
export function u8(
  options: ScalarOptions<number> | ArrayOptions<number> = {},
): ScalarDeclaration<number> | ArrayDeclaration<Uint8Array> {
  if (!isArray(options)) return scalar('u8', options, 0);
  return array(
    'u8',
    options,
    options.initial ?? 0,
    (buffer, at) => new Uint8Array(buffer, at, options.length),
  );
}

/** Declares a 16-bit register, or with `length` a Uint16Array of them. Assigned values wrap as in C. */
export function u16(options?: ScalarOptions<number>): ScalarDeclaration<number>;
export function u16(options: ArrayOptions<number>): ArrayDeclaration<Uint16Array>;
export function u16(
  options: ScalarOptions<number> | ArrayOptions<number> = {},
): ScalarDeclaration<number> | ArrayDeclaration<Uint16Array> {
  if (!isArray(options)) return scalar('u16', options, 0);
  return array(
    'u16',
    options,
    options.initial ?? 0,
    (buffer, at) => new Uint16Array(buffer, at, options.length),
  );
}

/** Declares a 32-bit register, or with `length` a Uint32Array of them. Assigned values wrap as in C. */
export function u32(options?: ScalarOptions<number>): ScalarDeclaration<number>;
export function u32(options: ArrayOptions<number>): ArrayDeclaration<Uint32Array>;
export function u32(
  options: ScalarOptions<number> | ArrayOptions<number> = {},
): ScalarDeclaration<number> | ArrayDeclaration<Uint32Array> {
  if (!isArray(options)) return scalar('u32', options, 0);
  return array(
    'u32',
    options,
    options.initial ?? 0,
    (buffer, at) => new Uint32Array(buffer, at, options.length),
  );
}

/** Declares a 64-bit register, a bigint, or with `length` a BigUint64Array of them. Assigned values wrap as in C. */
export function u64(options?: ScalarOptions<bigint>): ScalarDeclaration<bigint>;
export function u64(options: ArrayOptions<bigint>): ArrayDeclaration<BigUint64Array>;
export function u64(
  options: ScalarOptions<bigint> | ArrayOptions<bigint> = {},
): ScalarDeclaration<bigint> | ArrayDeclaration<BigUint64Array> {
  if (!isArray(options)) return scalar('u64', options, 0n);
  return array(
    'u64',
    options,
    options.initial ?? 0n,
    (buffer, at) => new BigUint64Array(buffer, at, options.length),
  );
}

/** Declares a flag. */
export function bool(options: ScalarOptions<boolean> = {}): ScalarDeclaration<boolean> {
  return scalar('bool', options, false);
}

/** Declares `count` bytes: a Uint8Array. For memory that a client maps or that is large, use {@link memory}. */
export function bytes(count: number, options: BytesOptions = {}): ArrayDeclaration<Uint8Array> {
  const { since = 1, initial = 0 } = options;
  return array('bytes', { length: count, since }, initial, (buffer, at) => new Uint8Array(buffer, at, count));
}

/**
 * Declares `size` bytes of memory, a positive multiple of 4 KiB: a {@link MemoryBlock}, which migrates while the
 * device runs and can be shared with the client.
 */
export function memory(size: number, options: MemoryOptions = {}): MemoryDeclaration {
  if (!Number.isSafeInteger(size) || size <= 0 || size % PAGE_SIZE !== 0) {
    throw new DeclaredStateError(
      'ERR_STATE_DECLARATION',
      `a memory block cannot have ${size} bytes: its size is a positive multiple of ${PAGE_SIZE}; use bytes(n) for less`,
      { size },
    );
  }
  return { kind: 'memory', size, since: options.since ?? 1, onReset: options.onReset ?? 'clear' };
}

function isArray<V>(options: ScalarOptions<V> | ArrayOptions<V>): options is ArrayOptions<V> {
  return 'length' in options;
}

function scalar<V>(type: FieldType, options: ScalarOptions<V>, zero: V): ScalarDeclaration<V> {
  return { kind: 'scalar', type, since: options.since ?? 1, initial: options.initial ?? zero };
}

/** What the typed arrays have in common, as far as it is needed here. */
interface Elements<V> {
  fill(value: V): unknown;
  set(values: ArrayLike<V>): void;
}

function array<V extends number | bigint, A extends Elements<V>>(
  type: FieldType,
  options: ArrayOptions<V>,
  initial: V | ArrayLike<V>,
  view: (buffer: ArrayBuffer, offset: number) => A,
): ArrayDeclaration<A> {
  const { length: count, since = 1 } = options;
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new DeclaredStateError(
      'ERR_STATE_DECLARATION',
      `a field cannot have ${count} elements: at least 1`,
      { count },
    );
  }
  if (typeof initial !== 'object')
    return { kind: 'array', type, count, since, view, clear: (to) => to.fill(initial) };
  if (initial.length === count)
    return { kind: 'array', type, count, since, view, clear: (to) => to.set(initial) };
  throw new DeclaredStateError(
    'ERR_STATE_DECLARATION',
    `a field of ${count} elements cannot start with a list of ${initial.length}`,
    { count, initial: initial.length },
  );
}
