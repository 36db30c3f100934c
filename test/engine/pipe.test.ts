import { describe, expect, it } from 'vitest';
import { copyData, type PipeOptions } from '../../src/engine/pipe.ts';
import { StepError } from '../../src/engine/step-error.ts';
import { FakeClock } from './fake-clock.ts';
import type { FakeEnd } from './fake-end.ts';
import { World } from './fake-world.ts';

/** Ends whose answers the test gives, one by one. */
class Bench {
  readonly clock = new FakeClock();
  readonly reads: { max: number; deliver(bytes: number): void; end(): void; fail(): void }[] = [];
  readonly writes: { bytes: Uint8Array; done(): void; fail(): void }[] = [];
  readonly moved: number[] = [];
  readonly source: FakeEnd;
  readonly destination: FakeEnd;

  constructor() {
    const world = new World(this.clock);
    this.source = world.source;
    this.destination = world.destination;
    this.source.read = (max, consume) =>
      new Promise((resolve, reject) => {
        const deliver = (bytes: number): void => {
          if (bytes > 0) consume(new Uint8Array(bytes).fill(bytes));
          resolve(bytes);
        };
        this.reads.push({ max, deliver, end: () => deliver(0), fail: () => reject(new Error('gone')) });
      });
    this.destination.write = (bytes) =>
      new Promise((resolve, reject) => {
        this.writes.push({
          bytes: bytes.slice(),
          done: () => resolve(),
          fail: () => reject(new Error('full')),
        });
      });
  }

  start(options: Partial<PipeOptions> = {}) {
    return copyData(this.source, this.destination, {
      clock: this.clock,
      chunkBytes: 100,
      window: 3,
      limit: Number.POSITIVE_INFINITY,
      bytesPerSecond: null,
      timeoutMs: 1000,
      moved: (bytes) => this.moved.push(bytes),
      failed: (end, cause) => new StepError('ERR_STEP_FAILED', end, `${end}: ${String(cause)}`, cause),
      signal: undefined,
      ...options,
    });
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the pipe', () => {
  it('has several reads on the way, and no more than the window', async () => {
    const bench = new Bench();
    const copied = bench.start();
    expect(bench.reads.length).toBe(3);
    for (const read of bench.reads.slice()) read.deliver(100);
    await settle();
    expect(bench.reads.length, 'unacknowledged writes count').toBe(3);
    expect(bench.writes.length).toBe(3);
    for (const write of bench.writes) write.done();
    await settle();
    expect(bench.reads.length).toBe(6);
    for (const read of bench.reads.slice(3)) read.end();
    await expect(copied).resolves.toEqual({ bytes: 300, dry: true, ms: 0 });
    expect(bench.moved).toEqual([100, 100, 100]);
  });

  it('hands a chunk on inside the call that delivers it', () => {
    const bench = new Bench();
    void bench.start();
    bench.reads[0]?.deliver(7);
    expect(bench.writes.map((write) => write.bytes)).toEqual([new Uint8Array(7).fill(7)]);
  });

  it('stops asking at the limit and waits for what is on the way', async () => {
    const bench = new Bench();
    const copied = bench.start({ limit: 150 });
    expect(bench.reads.length).toBe(2);
    for (const read of bench.reads) read.deliver(100);
    for (const write of bench.writes) write.done();
    await expect(copied).resolves.toMatchObject({ bytes: 200, dry: false });
    expect(bench.reads.length).toBe(2);
  });

  it('takes data that comes after a 0 that was asked for before', async () => {
    const bench = new Bench();
    const copied = bench.start();
    bench.reads[0]?.end();
    bench.reads[1]?.deliver(5);
    bench.reads[2]?.end();
    await settle();
    bench.writes[0]?.done();
    await expect(copied).resolves.toMatchObject({ bytes: 5, dry: true });
  });

  it('says which end failed, and drops what arrives later', async () => {
    const bench = new Bench();
    const copied = bench.start();
    bench.reads[0]?.fail();
    await expect(copied).rejects.toMatchObject({ culprit: 'source' });
    bench.reads[1]?.deliver(100);
    expect(bench.writes).toEqual([]);
    expect(bench.clock.pending).toBe(0);
  });

  it('notices a destination that refuses', async () => {
    const bench = new Bench();
    const copied = bench.start();
    bench.reads[0]?.deliver(100);
    bench.writes[0]?.fail();
    await expect(copied).rejects.toMatchObject({
      culprit: 'destination',
      message: 'destination: Error: full',
    });
  });

  it('notices an end that counts differently from what it delivers', async () => {
    const bench = new Bench();
    bench.source.read = async (_max, consume) => {
      consume(new Uint8Array(3));
      return 4;
    };
    await expect(bench.start()).rejects.toMatchObject({ code: 'ERR_STEP_UNVERIFIED', culprit: 'source' });
  });

  it.each(['source', 'destination'] as const)('gives up when the %s is silent for too long', async (end) => {
    const bench = new Bench();
    const copied = bench.start();
    if (end === 'destination') for (const read of bench.reads.slice()) read.deliver(100);
    await settle();
    bench.clock.advance(1001);
    await expect(copied).rejects.toMatchObject({ code: 'ERR_STEP_TIMEOUT', culprit: end });
    expect(bench.clock.pending).toBe(0);
  });

  it('does not give up while something arrives now and then', async () => {
    const bench = new Bench();
    const copied = bench.start({ window: 1 });
    for (let i = 0; i < 5; i += 1) {
      bench.clock.advance(800);
      bench.reads[i]?.deliver(1);
      await settle();
      bench.writes[i]?.done();
      await settle();
    }
    bench.reads[5]?.end();
    await expect(copied).resolves.toMatchObject({ bytes: 5, ms: 4000 });
  });

  it('keeps to the bandwidth', async () => {
    const bench = new Bench();
    const copied = bench.start({ bytesPerSecond: 1000, limit: 500 });
    let finished = false;
    void copied.then(() => {
      finished = true;
    });
    for (let ms = 0; !finished && ms < 2000; ms += 1) {
      for (const read of bench.reads.splice(0)) read.deliver(100);
      await settle();
      for (const write of bench.writes.splice(0)) write.done();
      await settle();
      if (!finished) bench.clock.advance(10);
    }
    await expect(copied).resolves.toMatchObject({ bytes: 500, ms: 400 });
  });

  it('stops at once when it is cancelled', async () => {
    const bench = new Bench();
    const controller = new AbortController();
    const copied = bench.start({ signal: controller.signal });
    controller.abort();
    await expect(copied).rejects.toMatchObject({ code: 'ERR_STEP_CANCELLED' });
    expect(bench.clock.pending).toBe(0);
  });
});
