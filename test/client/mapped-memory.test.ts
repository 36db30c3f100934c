import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { GuestRegion } from '../../src/client/index.ts';
import { MappedMemory } from '../../src/client/mapped-memory.ts';
import { Errno } from '../../src/errors/index.ts';

function region(
  iova: bigint,
  size: number,
  access: { readable?: boolean; writable?: boolean } = {},
): GuestRegion {
  const bytes = Uint8Array.from({ length: size }, (_, i) => (Number(iova & 0xffn) + i) & 0xff);
  const { readable = true, writable = true } = access;
  return { iova, size: BigInt(size), access: 'message', readable, writable, fd: null, bytes };
}

/** Regions in any order, some of them adjacent, at addresses where numbers are exact and where they are not. */
const layouts = fc
  .record({
    base: fc.constantFrom(0n, 0x1000n, 0xffff_ffff_ffff_0000n),
    parts: fc.array(
      fc.record({
        gap: fc.constantFrom(0, 0, 1, 16),
        size: fc.integer({ min: 1, max: 64 }),
        readable: fc.boolean(),
        writable: fc.boolean(),
      }),
      { minLength: 1, maxLength: 8 },
    ),
    order: fc.infiniteStream(fc.nat(100)),
  })
  .map(({ base, parts, order }) => {
    let next = base;
    const regions = parts.map(({ gap, size, ...access }) => {
      const made = region(next + BigInt(gap), size, access);
      next = made.iova + made.size;
      return made;
    });
    const shuffled = regions
      .map((each) => ({ each, rank: order.next().value ?? 0 }))
      .toSorted((a, b) => a.rank - b.rank);
    return { base, regions, shuffled: shuffled.map(({ each }) => each), end: next };
  });

/** Byte by byte, as slow and as plain as can be. */
function model(regions: readonly GuestRegion[], iova: bigint, count: number, what: 'readable' | 'writable') {
  const owners: (GuestRegion | undefined)[] = [];
  for (let i = 0; i < count; i += 1) {
    const at = iova + BigInt(i);
    owners.push(regions.find((each) => at >= each.iova && at < each.iova + each.size));
  }
  const first = owners.find((owner) => owner === undefined || !owner[what]);
  const bad = owners.findIndex((owner) => owner === undefined || !owner[what]);
  if (bad < 0) return { errno: 0, owners };
  return { errno: first === undefined ? Errno.EFAULT : Errno.EACCES, owners };
}

describe('MappedMemory', () => {
  it('finds and copies what a byte-by-byte model does', () => {
    fc.assert(
      fc.property(
        layouts,
        fc.integer({ min: -4, max: 300 }),
        fc.integer({ min: 0, max: 200 }),
        (layout, start, count) => {
          const memory = new MappedMemory();
          for (const each of layout.shuffled) memory.add(each);
          expect(memory.regions).toEqual(layout.regions);
          const iova = layout.base + BigInt(start) < 0n ? 0n : layout.base + BigInt(start);
          for (const what of ['readable', 'writable'] as const) {
            expect(memory.check(iova, count, what)).toBe(model(layout.regions, iova, count, what).errno);
          }
          const { errno, owners } = model(layout.regions, iova, count, 'readable');
          if (errno === 0) {
            const target = new Uint8Array(count + 2).fill(0xee);
            memory.read(iova, count, target, 1);
            const expected = owners.map((owner, i) => owner?.bytes[Number(iova + BigInt(i) - owner.iova)]);
            expect([...target]).toEqual([0xee, ...expected, 0xee]);
          }
          if (memory.check(iova, count, 'writable') === 0) {
            memory.write(
              iova,
              count,
              Uint8Array.from({ length: count + 1 }, (_, i) => 255 - i),
              1,
            );
            const back = model(layout.regions, iova, count, 'writable').owners;
            const got = back.map((owner, i) => owner?.bytes[Number(iova + BigInt(i) - owner.iova)]);
            expect(got).toEqual(Array.from({ length: count }, (_, i) => 254 - i));
          }
        },
      ),
    );
  });

  it('says that nothing is there when nothing is', () => {
    const memory = new MappedMemory();
    expect(memory.check(0n, 1, 'readable')).toBe(Errno.EFAULT);
    expect(memory.check(0n, 0, 'readable')).toBe(0);
  });

  it('forgets regions, one or all', () => {
    const memory = new MappedMemory();
    const [a, b] = [region(0n, 16), region(0x100n, 16)];
    memory.add(a);
    memory.add(b);
    memory.remove(a);
    memory.remove(a);
    expect(memory.has(a)).toBe(false);
    expect(memory.check(0n, 1, 'readable')).toBe(Errno.EFAULT);
    expect(memory.check(0x100n, 16, 'readable')).toBe(0);
    memory.clear();
    expect(memory.check(0x100n, 1, 'readable')).toBe(Errno.EFAULT);
  });

  it('reaches to the very end of the address space', () => {
    const memory = new MappedMemory();
    memory.add(region((1n << 64n) - 16n, 16));
    expect(memory.check((1n << 64n) - 16n, 16, 'writable')).toBe(0);
    expect(memory.check((1n << 64n) - 1n, 2, 'writable')).toBe(Errno.EFAULT);
  });
});
