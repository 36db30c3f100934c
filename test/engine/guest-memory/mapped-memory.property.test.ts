import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type DmaLogger,
  dmaTracker,
  type GuestMemorySink,
  MappedMemorySource,
  MappedMemoryTarget,
  vmmTracker,
} from '../../../src/engine/index.ts';

const PAGE = 4096;
const SIZES = [24 * PAGE, 9 * PAGE];
const ADDRESSES = [0x10_000n, 0x8000_3000n];

/** A device that remembers each byte that it wrote, and reports in pages of its own choice. */
class NaiveDevice implements DmaLogger {
  readonly path = 'naive';
  readonly #pageSize: bigint;
  #written: Set<bigint> | null = null;
  failures = 0;

  constructor(pageSize: bigint) {
    this.#pageSize = pageSize;
  }

  write(iova: bigint): void {
    this.#written?.add(iova);
  }

  /** A reset ends the log. */
  reset(): void {
    this.#written = null;
  }

  async startDmaLogging(): Promise<bigint> {
    this.#written = new Set();
    return this.#pageSize;
  }

  async stopDmaLogging(): Promise<void> {
    this.#written = null;
  }

  async dmaLog(iova: bigint, length: bigint, pageSize: bigint): Promise<Uint8Array> {
    const written = this.#written;
    if (written === null) throw new Error('DMA logging is off');
    if (this.failures > 0) {
      this.failures -= 1;
      throw new Error('the report failed');
    }
    const bits = Number((length + pageSize - 1n) / pageSize);
    const bitmap = new Uint8Array(Math.ceil(bits / 64) * 8);
    for (const address of [...written]) {
      if (address < iova || address >= iova + length) continue;
      const bit = Number((address - iova) / pageSize);
      bitmap[bit >> 3] = (bitmap[bit >> 3] ?? 0) | (1 << (bit & 7));
      written.delete(address);
    }
    return bitmap;
  }
}

interface Write {
  readonly by: 'device' | 'other device' | 'vmm';
  readonly region: number;
  readonly at: number;
  readonly length: number;
  readonly value: number;
}

type Move =
  | { readonly do: 'write'; readonly write: Write }
  | { readonly do: 'rest' }
  | { readonly do: 'copy'; readonly limit: number; readonly during: readonly Write[] }
  | { readonly do: 'fail' }
  | { readonly do: 'reset' };

const write: fc.Arbitrary<Write> = fc.record({
  by: fc.constantFrom('device', 'other device', 'vmm'),
  region: fc.nat(SIZES.length - 1),
  at: fc.nat(24 * PAGE - 1),
  length: fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 3 * PAGE })),
  // Pages become zero again, too.
  value: fc.constantFrom(0, 0, 1, 0x5a, 0xff),
});

const moves: fc.Arbitrary<readonly Move[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('write' as const), write }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('rest' as const) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('copy' as const),
        limit: fc.constantFrom(1, 3 * PAGE, Number.POSITIVE_INFINITY),
        during: fc.array(write, { maxLength: 6 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('fail' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('reset' as const) }) },
  ),
  { maxLength: 40 },
);

/** Guest memory with everybody who writes to it. */
class Guest {
  readonly memory = SIZES.map((size, i) => ({ iova: ADDRESSES[i] ?? 0n, bytes: new Uint8Array(size) }));
  readonly device: NaiveDevice;
  readonly other: NaiveDevice;
  readonly source: MappedMemorySource;
  #reported: { iova: bigint; length: bigint }[] = [];

  constructor(pageSize: bigint, otherPageSize: bigint) {
    this.device = new NaiveDevice(pageSize);
    this.other = new NaiveDevice(otherPageSize);
    const report = (mark: (iova: bigint, length: bigint) => void): void => {
      for (const { iova, length } of this.#reported.splice(0)) mark(iova, length);
    };
    this.source = new MappedMemorySource(this.memory, [
      dmaTracker(this.device, 'device'),
      dmaTracker(this.other, 'other device'),
      vmmTracker({ report }),
    ]);
  }

  write({ by, region, at, length, value }: Write): void {
    const target = this.memory[region];
    if (target === undefined) return;
    const start = at % target.bytes.length;
    const end = Math.min(target.bytes.length, start + length);
    target.bytes.fill(value, start, end);
    const iova = target.iova + BigInt(start);
    if (by === 'vmm') this.#reported.push({ iova, length: BigInt(end - start) });
    const log = by === 'device' ? this.device : this.other;
    if (by !== 'vmm') for (let i = 0; i < end - start; i++) log.write(iova + BigInt(i));
  }
}

/** A channel that copies what it is given, and during whose work others write. */
function sinkInto(target: MappedMemoryTarget, meanwhile: () => void): GuestMemorySink {
  return {
    pages: (region, offset, bytes) => {
      target.pages(region, offset, bytes.slice());
      meanwhile();
      return null;
    },
    zeros: async (region, offset, length) => {
      meanwhile();
      await target.zeros(region, offset, length);
    },
  };
}

describe('guest memory that is written while it moves', () => {
  it('is equal byte by byte after the final copy, whoever wrote whatever and whichever report failed', async () => {
    const pageSizes = fc.constantFrom(512n, 4096n, 16384n, 1n << 20n);
    await fc.assert(
      fc.asyncProperty(
        pageSizes,
        pageSizes,
        fc.array(write, { maxLength: 12 }),
        moves,
        fc.boolean(),
        async (pageSize, other, before, phases, fresh) => {
          const guest = new Guest(pageSize, other);
          for (const each of before) guest.write(each);
          const copies = guest.memory.map(({ iova, bytes }) => ({
            iova,
            bytes: new Uint8Array(bytes.length).fill(fresh ? 0 : 0xcc),
          }));
          const target = new MappedMemoryTarget(copies, { fresh });
          await guest.source.start();
          for (const phase of phases) await carryOut(guest, target, phase);

          await guest.source.copy(
            sinkInto(target, () => {}),
            1,
            true,
          );

          copies.forEach(({ bytes }, i) => {
            expect(Buffer.compare(bytes, guest.memory[i]?.bytes ?? new Uint8Array())).toBe(0);
          });
        },
      ),
      { numRuns: Number(process.env['FERRY_FUZZ_COUNT'] ?? 150) },
    );
  });
});

async function carryOut(guest: Guest, target: MappedMemoryTarget, phase: Move): Promise<void> {
  switch (phase.do) {
    case 'write':
      return guest.write(phase.write);
    case 'rest':
      await guest.source.rest();
      return;
    case 'fail':
      guest.device.failures += 1;
      return;
    case 'reset':
      return guest.other.reset();
    case 'copy': {
      const during = [...phase.during];
      const meanwhile = (): void => {
        const next = during.shift();
        if (next !== undefined) guest.write(next);
      };
      return guest.source.copy(sinkInto(target, meanwhile), phase.limit, false);
    }
  }
}
