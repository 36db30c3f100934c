import { describe, expect, it } from 'vitest';
import type { MigrationEnd } from '../../src/engine/index.ts';
import { Pump, type PumpOptions } from '../../src/engine/pump.ts';
import type { CopyOrder } from '../../src/engine/step.ts';
import { StepError } from '../../src/engine/step-error.ts';
import { FakeClock } from './fake-clock.ts';
import { World } from './fake-world.ts';

interface Read {
  readonly device: number;
  readonly max: number;
  deliver(bytes: number): void;
  end(): void;
  fail(): void;
}

/** Devices whose answers the test gives, one by one, and a way that has room when the test says so. */
class Bench {
  readonly clock = new FakeClock();
  readonly reads: Read[] = [];
  readonly forwarded: { device: number; bytes: Uint8Array }[] = [];
  readonly devices: readonly MigrationEnd[];
  full = false;
  #open: (() => void)[] = [];
  pump: Pump | null = null;

  constructor(devices = 1) {
    this.devices = Array.from({ length: devices }, (_, device) => this.#device(device));
  }

  /** There is room again. */
  makeRoom(): void {
    for (const open of this.#open.splice(0)) open();
  }

  run(orders: readonly CopyOrder[], options: Partial<PumpOptions> = {}) {
    this.pump = new Pump(orders, {
      clock: this.clock,
      devices: this.devices,
      chunkBytes: 100,
      window: 3,
      timeoutMs: 1000,
      forward: (device, chunk) => this.#forward(device, chunk),
      failed: (_device, cause) => new StepError('ERR_STEP_FAILED', 'source', String(cause), cause),
      ...options,
    });
    return this.pump.run();
  }

  #forward(device: number, chunk: Uint8Array): Promise<void> | null {
    this.forwarded.push({ device, bytes: chunk.slice() });
    if (!this.full) return null;
    return new Promise((resolve) => this.#open.push(resolve));
  }

  #device(device: number): MigrationEnd {
    const { source } = new World(this.clock);
    source.read = (max, consume) =>
      new Promise((resolve, reject) => {
        const deliver = (bytes: number): void => {
          if (bytes > 0) consume(new Uint8Array(bytes).fill(bytes));
          resolve(bytes);
        };
        const fail = (): void => reject(new Error('gone'));
        this.reads.push({ device, max, deliver, end: () => deliver(0), fail });
      });
    return source;
  }
}

const ALL = { device: 0, limit: Number.POSITIVE_INFINITY };
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the pump', () => {
  it('has several reads on the way, and no more than the window', async () => {
    const bench = new Bench();
    const pumped = bench.run([ALL]);
    expect(bench.reads.length).toBe(3);
    bench.reads[0]?.deliver(100);
    await settle();
    expect(bench.reads.length).toBe(4);
    for (const read of bench.reads.slice(1)) read.end();
    await expect(pumped).resolves.toEqual({ bytes: 100, dry: true });
  });

  it('passes a chunk on inside the call that delivers it', () => {
    const bench = new Bench();
    void bench.run([ALL]);
    bench.reads[0]?.deliver(7);
    expect(bench.forwarded).toEqual([{ device: 0, bytes: new Uint8Array(7).fill(7) }]);
  });

  it('asks for nothing more while the way is full, and goes on when there is room', async () => {
    const bench = new Bench();
    bench.full = true;
    const pumped = bench.run([ALL]);
    for (const read of bench.reads.slice()) read.deliver(100);
    await settle();
    expect(bench.reads.length, 'those that were on the way').toBe(3);
    bench.makeRoom();
    await settle();
    expect(bench.reads.length).toBe(6);
    for (const read of bench.reads.slice(3)) read.end();
    await expect(pumped).resolves.toMatchObject({ bytes: 300 });
  });

  it('is not done before what it passed on has found room', async () => {
    const bench = new Bench();
    bench.full = true;
    let done = false;
    void bench.run([ALL]).then(() => {
      done = true;
    });
    bench.reads[0]?.deliver(1);
    for (const read of bench.reads.slice(1)) read.end();
    await settle();
    expect(done).toBe(false);
    bench.makeRoom();
    await settle();
    expect(done).toBe(true);
  });

  it('reads all devices at once, each to its own limit, in bounded number', async () => {
    const bench = new Bench(8);
    const pumped = bench.run(
      bench.devices.map((_, device) => ({ device, limit: device === 0 ? 100 : 1000 })),
    );
    expect(bench.reads.length).toBe(16);
    expect(bench.reads.filter(({ device }) => device === 0).length).toBe(1);
    for (let at = 0; at < bench.reads.length; at += 1) {
      bench.reads[at]?.deliver(bench.reads[at]?.device === 0 ? 100 : 0);
      await settle();
    }
    await expect(pumped).resolves.toEqual({ bytes: 100, dry: false });
  });

  it('stops asking at the limit and waits for what is on the way', async () => {
    const bench = new Bench();
    const pumped = bench.run([{ device: 0, limit: 150 }]);
    expect(bench.reads.length).toBe(2);
    for (const read of bench.reads) read.deliver(100);
    await expect(pumped).resolves.toEqual({ bytes: 200, dry: false });
    expect(bench.reads.length).toBe(2);
  });

  it('takes data that comes after a 0 that was asked for before', async () => {
    const bench = new Bench();
    const pumped = bench.run([ALL]);
    bench.reads[0]?.end();
    bench.reads[1]?.deliver(5);
    bench.reads[2]?.end();
    await expect(pumped).resolves.toEqual({ bytes: 5, dry: true });
  });

  it('says which end failed, and drops what arrives later', async () => {
    const bench = new Bench();
    const pumped = bench.run([ALL]);
    bench.reads[0]?.fail();
    await expect(pumped).rejects.toMatchObject({ culprit: 'source' });
    bench.reads[1]?.deliver(100);
    expect(bench.forwarded).toEqual([]);
    expect(bench.clock.pending).toBe(0);
  });

  it('ends with what else has failed', async () => {
    const bench = new Bench();
    const pumped = bench.run([ALL]);
    bench.pump?.fail(new StepError('ERR_STEP_CANCELLED', 'caller', 'it was cancelled'));
    await expect(pumped).rejects.toMatchObject({ code: 'ERR_STEP_CANCELLED' });
    expect(bench.clock.pending).toBe(0);
  });

  it('notices an end that counts differently from what it delivers', async () => {
    const bench = new Bench();
    const [device] = bench.devices;
    if (device === undefined) throw new Error('there is one');
    device.read = async (_max, consume) => {
      consume(new Uint8Array(3));
      return 4;
    };
    await expect(bench.run([ALL])).rejects.toMatchObject({ code: 'ERR_STEP_UNVERIFIED', culprit: 'source' });
  });

  it('gives up when the source is silent for too long', async () => {
    const bench = new Bench();
    const pumped = bench.run([ALL]);
    bench.clock.advance(1001);
    await expect(pumped).rejects.toMatchObject({ code: 'ERR_STEP_TIMEOUT', culprit: 'source' });
    expect(bench.clock.pending).toBe(0);
  });

  it('does not give up while something arrives now and then', async () => {
    const bench = new Bench();
    const pumped = bench.run([ALL], { window: 1 });
    for (let i = 0; i < 5; i += 1) {
      bench.clock.advance(800);
      bench.reads[i]?.deliver(1);
      await settle();
    }
    bench.reads[5]?.end();
    await expect(pumped).resolves.toEqual({ bytes: 5, dry: true });
  });
});
