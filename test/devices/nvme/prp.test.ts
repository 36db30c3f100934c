import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PrpStep, PrpWalk } from '../../../src/devices/nvme/prp.ts';
import { Status } from '../../../src/devices/nvme/status.ts';

/** Guest memory with the lists in it: the entry at each address. */
type Lists = Map<bigint, bigint>;

/** Walks and returns where each byte range is, or the status. Counts how many lists were read. */
function walk(prp1: bigint, prp2: bigint, length: number, pageSize: number, lists: Lists) {
  const prp = new PrpWalk();
  let reads = 0;
  let step = prp.begin(prp1, prp2, length, pageSize);
  while (step === PrpStep.NEEDS_LIST) {
    reads++;
    const bytes = new Uint8Array(prp.listLength);
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < bytes.length; at += 8)
      view.setBigUint64(at, lists.get(prp.listAddress + BigInt(at)) ?? 0n, true);
    step = prp.feed(bytes);
  }
  const segments = prp.addresses
    .slice(0, prp.count)
    .map((address, i) => [address, prp.lengths[i] ?? 0] as const);
  return { step, segments, reads };
}

/** The specification, naively: the address of each page of the data. */
function naive(prp1: bigint, prp2: bigint, length: number, pageSize: number, lists: Lists): bigint[] {
  const first = pageSize - Number(prp1 % BigInt(pageSize));
  const more = Math.ceil(Math.max(0, length - first) / pageSize);
  if (more === 0) return [prp1];
  if (more === 1) return [prp1, prp2];
  const pages = [prp1];
  let at = prp2;
  for (let i = 0; i < more; i++) {
    if (i < more - 1 && (at + 8n) % BigInt(pageSize) === 0n) at = lists.get(at) ?? 0n;
    pages.push(lists.get(at) ?? 0n);
    at += 8n;
  }
  return pages;
}

/** Neighbouring ranges as one. */
function merge(ranges: readonly (readonly [bigint, number])[]): [bigint, number][] {
  const merged: [bigint, number][] = [];
  for (const [address, length] of ranges) {
    const last = merged.at(-1);
    if (last !== undefined && last[0] + BigInt(last[1]) === address) last[1] += length;
    else merged.push([address, length]);
  }
  return merged;
}

describe('a walk over PRP entries', () => {
  it.each<[string, bigint, bigint, number, (readonly [bigint, number])[]]>([
    ['a whole page', 0x10000n, 0n, 4096, [[0x10000n, 4096]]],
    ['a part of a page', 0x10200n, 0n, 512, [[0x10200n, 512]]],
    ['up to the end of a page', 0x10e00n, 0n, 512, [[0x10e00n, 512]]],
    [
      'two pages',
      0x10000n,
      0x30000n,
      8192,
      [
        [0x10000n, 4096],
        [0x30000n, 4096],
      ],
    ],
    ['two pages that are neighbours', 0x10000n, 0x11000n, 8192, [[0x10000n, 8192]]],
    [
      'a page from its middle on',
      0x10800n,
      0x30000n,
      4096,
      [
        [0x10800n, 2048],
        [0x30000n, 2048],
      ],
    ],
  ])('finds %s', (_, prp1, prp2, length, segments) => {
    expect(walk(prp1, prp2, length, 4096, new Map())).toEqual({ step: PrpStep.DONE, segments, reads: 0 });
  });

  it('reads no more of a list than the length needs', () => {
    const lists: Lists = new Map([
      [0x8000n, 0x20000n],
      [0x8008n, 0x30000n],
      [0x8010n, 0x1n],
    ]);
    const { step, segments } = walk(0x10000n, 0x8000n, 3 * 4096, 4096, lists);
    expect([step, segments.length]).toEqual([PrpStep.DONE, 3]);
  });

  it('takes the last entry of a page as data when it is the last one of all', () => {
    const lists: Lists = new Map([
      [0x8ff0n, 0x20000n],
      [0x8ff8n, 0x30000n],
    ]);
    const { step, segments, reads } = walk(0x10000n, 0x8ff0n, 3 * 4096, 4096, lists);
    expect([step, segments.at(-1), reads]).toEqual([PrpStep.DONE, [0x30000n, 4096], 1]);
  });

  it('follows the last entry of a page when more comes', () => {
    const lists: Lists = new Map([
      [0x8ff8n, 0x9000n],
      [0x9000n, 0x20000n],
      [0x9008n, 0x40000n],
    ]);
    const { step, segments, reads } = walk(0x10000n, 0x8ff8n, 3 * 4096, 4096, lists);
    expect([step, segments.length, reads]).toEqual([PrpStep.DONE, 3, 2]);
  });

  it.each<[string, bigint, bigint, number, [bigint, bigint][]]>([
    ['data that is not aligned to 4 bytes', 0x10002n, 0n, 512, []],
    ['a second entry with an offset', 0x10000n, 0x20004n, 8192, []],
    ['a list that is not aligned to 8 bytes', 0x10000n, 0x20004n, 3 * 4096, []],
    [
      'an entry of a list with an offset',
      0x10000n,
      0x8000n,
      3 * 4096,
      [
        [0x8000n, 0x20008n],
        [0x8008n, 0n],
      ],
    ],
    ['a pointer to a list with an offset', 0x10000n, 0x8ff8n, 3 * 4096, [[0x8ff8n, 0x9008n]]],
  ])('refuses %s', (_, prp1, prp2, length, entries) => {
    expect(walk(prp1, prp2, length, 4096, new Map(entries)).step).toBe(Status.INVALID_PRP_OFFSET);
  });

  it('ends with a list that leads back to itself', () => {
    const lists: Lists = new Map(Array.from({ length: 512 }, (_, i) => [0x8000n + BigInt(8 * i), 0x8000n]));
    const { step, reads } = walk(0x10000n, 0x8000n, 2 * 1024 * 1024, 4096, lists);
    expect([step, reads]).toEqual([PrpStep.DONE, 1]);
    const long = walk(0x10000n, 0x8ff8n, 2 * 1024 * 1024, 4096, lists);
    expect([long.step, long.reads]).toEqual([PrpStep.DONE, 2]);
  });

  it('finds what the specification says, for any pages, page size, length, offset and place of the list', () => {
    const address = fc.bigInt({ min: 0n, max: 1n << 44n });
    fc.assert(
      fc.property(
        fc.constantFrom(4096, 8192, 65536),
        fc.nat({ max: 1023 }),
        fc.integer({ min: 1, max: 4096 }),
        fc.nat({ max: 511 }),
        fc.array(address, { minLength: 4, maxLength: 12 }),
        (pageSize, offset, blocks, listSlot, seeds) => {
          const size = BigInt(pageSize);
          const length = Math.min(2 * 1024 * 1024, blocks * 512);
          const prp1 = (seeds[0] ?? 0n) * size + BigInt((offset * 4) % pageSize);
          const more = Math.ceil(Math.max(0, length - (pageSize - Number(prp1 % size))) / pageSize);
          const lists: Lists = new Map();
          const pages = Array.from(
            { length: more },
            (_, i) => ((seeds[i % seeds.length] ?? 0n) + BigInt(i)) * size,
          );
          let prp2 = pages[0] ?? 0n;
          if (more > 1) {
            prp2 = (1n << 50n) + size - BigInt(8 * ((listSlot % (pageSize / 8)) + 1));
            let at = prp2;
            for (const [i, page] of pages.entries()) {
              if (i < more - 1 && (at + 8n) % size === 0n) {
                const next = (1n << 51n) + BigInt(lists.size) * size;
                lists.set(at, next);
                at = next;
              }
              lists.set(at, page);
              at += 8n;
            }
          }
          const { step, segments, reads } = walk(prp1, prp2, length, pageSize, lists);
          expect(step).toBe(PrpStep.DONE);
          let left = length;
          const expected = naive(prp1, prp2, length, pageSize, lists).map((page) => {
            const count = Math.min(left, pageSize - Number(page % size));
            left -= count;
            return [page, count] as const;
          });
          expect(left).toBe(0);
          expect(segments).toEqual(merge(expected));
          expect(reads).toBeLessThanOrEqual(2 + Math.ceil((more * 8) / (pageSize - 8)));
        },
      ),
      { numRuns: 150 },
    );
  });
});
