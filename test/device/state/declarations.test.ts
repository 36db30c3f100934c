import { describe, expect, expectTypeOf, it } from 'vitest';
import {
  bool,
  bytes,
  declareState,
  type MemoryBlock,
  memory,
  u8,
  u16,
  u32,
  u64,
} from '../../../src/device/state/index.ts';

describe('a declared field', () => {
  it('has the type of its declaration', () => {
    const { state } = declareState({
      a: u8(),
      b: u16({ initial: 7 }),
      c: u32({ length: 3 }),
      d: u64(),
      e: u64({ length: 2, initial: 5n }),
      f: bool(),
      g: bytes(6),
      h: memory(4096),
    });
    expectTypeOf(state.a).toEqualTypeOf<number>();
    expectTypeOf(state.c).toEqualTypeOf<Uint32Array>();
    expectTypeOf(state.d).toEqualTypeOf<bigint>();
    expectTypeOf(state.e).toEqualTypeOf<BigUint64Array>();
    expectTypeOf(state.f).toEqualTypeOf<boolean>();
    expectTypeOf(state.g).toEqualTypeOf<Uint8Array>();
    expectTypeOf(state.h).toEqualTypeOf<MemoryBlock>();
    expect([
      state.a,
      state.b,
      [...state.c],
      state.d,
      [...state.e],
      state.f,
      state.g.length,
      state.h.size,
    ]).toEqual([0, 7, [0, 0, 0], 0n, [5n, 5n], false, 6, 4096]);
  });

  it('cannot be given a value of another type, nor can a view or a block be replaced', () => {
    const { state } = declareState({ a: u32(), b: u64(), c: u8({ length: 2 }), d: memory(4096) });
    const other = declareState({ d: memory(4096) }).state.d;
    // @ts-expect-error a number is wanted
    state.a = 'x';
    const wrong = [
      () => {
        // @ts-expect-error a bigint is wanted, and the engine insists too
        state.b = 1;
      },
      () => {
        // @ts-expect-error an array is filled, not replaced
        state.c = new Uint8Array(2);
      },
      () => {
        // @ts-expect-error a block is filled, not replaced
        state.d = other;
      },
    ];
    for (const assign of wrong) expect(assign).toThrow(TypeError);
  });

  const wraps: readonly (readonly [assigned: number, u8: number, u16: number, u32: number])[] = [
    [255, 255, 255, 255],
    [256, 0, 256, 256],
    [65537, 1, 1, 65537],
    [2 ** 32 + 258, 2, 258, 258],
    [-1, 255, 65535, 4294967295],
    [1.9, 1, 1, 1],
    [Number.NaN, 0, 0, 0],
  ];
  it.each(wraps)('wraps %d as C does: %d, %d, %d', (assigned, asU8, asU16, asU32) => {
    const { state } = declareState({ a: u8(), b: u16(), c: u32() });
    state.a = assigned;
    state.b = assigned;
    state.c = assigned;
    expect([state.a, state.b, state.c]).toEqual([asU8, asU16, asU32]);
  });

  it('wraps 64 bits as C does', () => {
    const { state } = declareState({ a: u64({ initial: 2n ** 64n - 1n }) });
    state.a += 2n;
    expect(state.a).toBe(1n);
    state.a -= 2n;
    expect(state.a).toBe(2n ** 64n - 1n);
  });

  it.each([
    ['no elements', () => u32({ length: 0 })],
    ['half an element', () => u8({ length: 1.5 })],
    ['no bytes', () => bytes(0)],
    ['a list that is too short', () => u16({ length: 3, initial: [1, 2] })],
    ['bytes that are too many', () => bytes(2, { initial: Uint8Array.of(1, 2, 3) })],
    ['memory of no bytes', () => memory(0)],
    ['memory of half a page', () => memory(2048)],
    ['memory of 2^53 bytes', () => memory(2 ** 53)],
  ])('cannot have %s', (_, declare) => {
    expect(declare).toThrow(expect.objectContaining({ code: 'ERR_STATE_DECLARATION' }));
  });
});
