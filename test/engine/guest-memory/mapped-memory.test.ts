import { describe, expect, it } from 'vitest';
import {
  type DirtyTracker,
  type DmaLogger,
  dmaTracker,
  GuestMemoryError,
  type GuestMemorySink,
  MappedMemorySource,
  MappedMemoryTarget,
  MigrationControl,
  vmmTracker,
} from '../../../src/engine/index.ts';
import { move, newWorld } from '../moves.ts';

const PAGE = 4096;
const MiB = 1024 * 1024;

function region(size: number, iova = 0n) {
  return { iova, bytes: new Uint8Array(size) };
}

/** Remembers what it is given, as text. */
function listener(): GuestMemorySink & { readonly told: string[] } {
  const told: string[] = [];
  return {
    told,
    pages: (index, offset, bytes) => {
      told.push(`pages ${index} ${offset} ${bytes.length}`);
      return null;
    },
    zeros: (index, offset, length) => {
      told.push(`zeros ${index} ${offset} ${length}`);
      return null;
    },
  };
}

/** Says what it is told to say, and counts. */
function writer(name: string, reports: readonly (() => void)[] = []) {
  const calls: string[] = [];
  let next = 0;
  const tracker: DirtyTracker = {
    name,
    start: async () => void calls.push('start'),
    report: async () => {
      calls.push('report');
      reports[next++]?.();
    },
    stop: async () => void calls.push('stop'),
  };
  return { tracker, calls };
}

function broken(): never {
  throw new Error('EINVAL');
}

describe('MappedMemorySource', () => {
  it('sends runs of pages in messages of at most 1 MiB, and zeros as runs of any length', async () => {
    const memory = [region(8 * MiB), region(2 * PAGE, 0x1000_0000n)];
    memory[0]?.bytes.fill(1, 5 * MiB, 5 * MiB + 2 * MiB + PAGE);
    memory[1]?.bytes.fill(1, PAGE);
    const source = new MappedMemorySource(memory, []);
    await source.start();
    const sink = listener();
    await source.copy(sink, Number.POSITIVE_INFINITY, false);
    expect(sink.told).toEqual([
      `zeros 0 0 ${5 * MiB}`,
      `pages 0 ${5 * MiB} ${MiB}`,
      `pages 0 ${6 * MiB} ${MiB}`,
      `pages 0 ${7 * MiB} ${PAGE}`,
      `zeros 0 ${7 * MiB + PAGE} ${MiB - PAGE}`,
      `zeros 1 0 ${PAGE}`,
      `pages 1 ${PAGE} ${PAGE}`,
    ]);
    expect(await source.rest()).toBe(0n);
  });

  it('stops after about the limit, and goes on there; the final copy knows no limit', async () => {
    const memory = region(4 * MiB);
    memory.bytes.fill(1);
    const source = new MappedMemorySource([memory], []);
    await source.start();
    await source.copy(listener(), 1, false);
    expect(await source.rest()).toBe(BigInt(3 * MiB));
    const sink = listener();
    await source.copy(sink, 1, true);
    expect(sink.told).toHaveLength(3);
  });

  it('waits for room before it sends more', async () => {
    const memory = region(3 * MiB);
    memory.bytes.fill(1);
    const source = new MappedMemorySource([memory], []);
    await source.start();
    const waiting: (() => void)[] = [];
    const sink: GuestMemorySink = {
      pages: () => new Promise<void>((resolve) => waiting.push(resolve)),
      zeros: () => null,
    };
    const copying = source.copy(sink, Number.POSITIVE_INFINITY, true);
    for (let sent = 1; sent <= 3; sent += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      expect(waiting).toHaveLength(sent);
      waiting[sent - 1]?.();
    }
    await copying;
  });

  it('sends everything again after a failed report, says so, and watches that writer anew', async () => {
    const { tracker, calls } = writer('a.control', [broken]);
    const source = new MappedMemorySource([region(MiB)], [tracker]);
    await source.start();
    await source.copy(listener(), Number.POSITIVE_INFINITY, false);
    expect(await source.rest(), 'after the report that failed').toBe(BigInt(MiB));
    expect(calls).toEqual(['start', 'report', 'stop', 'start']);
    await source.copy(listener(), Number.POSITIVE_INFINITY, false);
    expect(await source.rest(), 'after one that did not').toBe(0n);
    expect(source.notes).toEqual([
      'a.control could not tell what it had written (EINVAL): all guest memory was sent again, once',
    ]);
  });

  it('makes no exception in the final copy', async () => {
    const { tracker } = writer('a.control', [broken, broken]);
    const source = new MappedMemorySource([region(PAGE)], [tracker]);
    await source.start();
    await source.copy(listener(), Number.POSITIVE_INFINITY, false);
    const sink = listener();
    await source.copy(sink, 0, true);
    expect(sink.told).toEqual([`zeros 0 0 ${PAGE}`]);
  });

  it('refuses a writer that can not be watched, and stops watching the others', async () => {
    const one = writer('a.control');
    const two: DirtyTracker = { ...writer('b.control').tracker, start: async () => broken() };
    const source = new MappedMemorySource([region(PAGE)], [one.tracker, two]);
    const error = await source.start().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(GuestMemoryError);
    expect(String(error)).toMatch(/b\.control does not tell what it writes to guest memory: EINVAL/);
    expect(one.calls).toEqual(['start', 'stop']);
  });

  it('begins anew when it is started again', async () => {
    const { tracker } = writer('a.control');
    const source = new MappedMemorySource([region(PAGE)], [tracker]);
    await source.start();
    await source.copy(listener(), Number.POSITIVE_INFINITY, true);
    await source.start();
    expect(await source.rest()).toBe(BigInt(PAGE));
  });

  it.each([
    ['no whole pages', [region(100)]],
    ['nothing', [region(0)]],
    ['no page at its beginning', [region(PAGE, 12n)]],
    ['an overlap', [region(2 * PAGE), region(PAGE, 4096n)]],
    ['an end behind the address space', [region(2 * PAGE, 2n ** 64n - 4096n)]],
  ])('refuses regions with %s', (_, regions) => {
    expect(() => new MappedMemorySource(regions, [])).toThrow(GuestMemoryError);
    expect(() => new MappedMemoryTarget(regions)).toThrow(GuestMemoryError);
  });
});

describe('dmaTracker', () => {
  function device(pageSize: bigint) {
    const asked: unknown[] = [];
    const client: DmaLogger = {
      path: 'device',
      startDmaLogging: async (hint, ranges) => {
        asked.push(['start', hint, ranges]);
        return pageSize;
      },
      stopDmaLogging: async () => void asked.push(['stop']),
      dmaLog: async (iova, length, size) => {
        asked.push(['report', iova, length, size]);
        return Uint8Array.of(0b0000_0101, 0, 0, 0, 0, 0, 0, 0x80);
      },
    };
    return { asked, client };
  }

  it('asks for reports in the page size that the device has chosen, region by region from their beginnings', async () => {
    const { asked, client } = device(8192n);
    const regions = [region(MiB, 0x20_0000n), region(MiB, 0x10_0000n), region(PAGE, 0x80_0000n)];
    const tracker = dmaTracker(client);
    await tracker.start(regions);
    const marked: number[][] = [];
    await tracker.report({
      range: broken,
      within: (index, offset, length) => void marked.push([index, offset, length]),
    });
    expect(asked).toEqual([
      [
        'start',
        4096n,
        [
          { iova: 0x10_0000n, length: BigInt(2 * MiB) },
          { iova: 0x80_0000n, length: 4096n },
        ],
      ],
      ['report', 0x20_0000n, BigInt(MiB), 8192n],
      ['report', 0x10_0000n, BigInt(MiB), 8192n],
      ['report', 0x80_0000n, 4096n, 8192n],
    ]);
    expect(marked.slice(0, 3)).toEqual([
      [0, 0, 8192],
      [0, 2 * 8192, 8192],
      [0, 63 * 8192, 8192],
    ]);
  });

  it('asks for one range around all when there are more than a device takes', async () => {
    const { asked, client } = device(4096n);
    const regions = Array.from({ length: 300 }, (_, i) => region(PAGE, BigInt(i * 2 * PAGE)));
    await dmaTracker(client).start(regions);
    expect(asked).toEqual([['start', 4096n, [{ iova: 0n, length: BigInt(599 * PAGE) }]]]);
  });

  it.each([0n, 4097n])('refuses a device that logs in pages of %s bytes', async (pageSize) => {
    await expect(dmaTracker(device(pageSize).client).start([region(PAGE)])).rejects.toThrow(
      /no power of two/,
    );
  });
});

describe('MappedMemoryTarget', () => {
  it.each<[string, number, bigint, bigint]>([
    ['a region that is not there', 1, 0n, 1n],
    ['a region before the first', -1, 0n, 1n],
    ['an offset behind the end', 0, BigInt(PAGE) + 1n, 0n],
    ['an end behind the end', 0, 1n, BigInt(PAGE)],
    ['an offset near 2^64', 0, 2n ** 64n - 1n, 1n],
    ['a length near 2^64', 0, 8n, 2n ** 64n - 8n],
  ])('refuses %s', (_, index, offset, length) => {
    const target = new MappedMemoryTarget([region(PAGE)]);
    expect(() => target.zeros(index, offset, length)).toThrow(GuestMemoryError);
    if (length <= BigInt(PAGE))
      expect(() => target.pages(index, offset, new Uint8Array(Number(length)))).toThrow(GuestMemoryError);
  });

  it('does not touch fresh memory for zeros, but what has arrived before', () => {
    const memory = region(3 * PAGE);
    const target = new MappedMemoryTarget([memory], { fresh: true });
    target.pages(0, BigInt(PAGE) + 8n, Uint8Array.of(7));
    memory.bytes.fill(9, 0, 8);
    expect(target.zeros(0, 0n, BigInt(3 * PAGE))).toBeNull();
    expect([memory.bytes[0], memory.bytes[PAGE + 8]]).toEqual([9, 0]);
  });

  it('zeroes long runs in turns, exactly', async () => {
    const memory = region(40 * MiB);
    memory.bytes.fill(5);
    const work = new MappedMemoryTarget([memory]).zeros(0, 3n, BigInt(40 * MiB - 5));
    expect(work).toBeInstanceOf(Promise);
    await work;
    expect([...memory.bytes.subarray(0, 4), ...memory.bytes.subarray(-3)]).toEqual([5, 5, 5, 0, 0, 5, 5]);
    expect(memory.bytes.indexOf(5, 3)).toBe(40 * MiB - 2);
  });
});

describe('a migration with guest memory', () => {
  it('sends what the VMM wrote in the blackout hook, and tells of reports that failed', async () => {
    const world = newWorld();
    const [here, there] = [region(MiB), region(MiB)];
    const written: [bigint, bigint][] = [];
    const report = (mark: (iova: bigint, length: bigint) => void): void => {
      for (const range of written.splice(0)) mark(...range);
    };
    const { tracker, calls } = writer('a.control', [broken]);
    const source = new MappedMemorySource([here], [vmmTracker({ report }), tracker]);
    const moved = await move(world, {
      memory: { source, destination: new MappedMemoryTarget([there]) },
      hooks: {
        beforeStop: () => {
          here.bytes.fill(0x42, 100, 200);
          written.push([100n, 100n]);
        },
      },
    });
    expect(Buffer.compare(here.bytes, there.bytes)).toBe(0);
    expect(there.bytes[150]).toBe(0x42);
    expect(moved.notes).toContain(source.notes[0]);
    expect(calls.at(-1), 'nobody is watched any longer').toBe('stop');
  });

  it('has not failed because a writer could not be told to stop', async () => {
    const world = newWorld();
    const source = new MappedMemorySource([region(PAGE)], []);
    const memory = {
      source: {
        regions: source.regions,
        start: () => source.start(),
        rest: () => source.rest(),
        copy: source.copy.bind(source),
        stop: async () => broken(),
      },
      destination: new MappedMemoryTarget([region(PAGE)]),
    };
    expect(await move(world, { memory })).toMatchObject({ owner: 'destination' });
  });

  it('can be cancelled in the middle of a copy', async () => {
    const world = newWorld();
    const control = new MigrationControl();
    const here = region(4 * MiB);
    here.bytes.fill(1);
    let arrived = 0;
    const there = new MappedMemoryTarget([region(4 * MiB)]);
    const destination = {
      regions: there.regions,
      zeros: there.zeros.bind(there),
      pages: (index: number, offset: bigint, bytes: Uint8Array) => {
        arrived += 1;
        control.cancel();
        return there.pages(index, offset, bytes);
      },
    };
    const { tracker, calls } = writer('a.control');
    const memory = { source: new MappedMemorySource([here], [tracker]), destination };
    await expect(move(world, { memory, control })).rejects.toMatchObject({ owner: 'source' });
    expect(arrived).toBe(1);
    expect(calls.at(-1)).toBe('stop');
    expect(world.violation).toBeNull();
  });

  it('compares the sizes of the regions before anything stops', async () => {
    const memory = {
      source: new MappedMemorySource([region(PAGE)], []),
      destination: new MappedMemoryTarget([region(2 * PAGE)]),
    };
    await expect(move(newWorld(), { memory })).rejects.toThrow(/guest memory is 4096 at the source and 8192/);
  });
});
