import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  bytes,
  DeclaredMigration,
  type DeviceMigration,
  field,
  KiB,
  type MigrationServices,
  memory,
  PciDevice,
  RunLevel,
  register,
  type ServedDevice,
  u32,
  u64,
  writeOnly,
} from '../../src/device/index.ts';
import { IrqIndex, RegionIndex } from '../../src/protocol/index.ts';
import { MigrationState, migrationMachine, walk } from '../../src/states/index.ts';
import { FakeHost, listen, peek, poke } from '../helpers/fake-host.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P } = MigrationState;

/** State of every kind, a clock, and work by message that takes as long as the test wants. */
class Everything extends PciDevice {
  readonly identity = { kind: 'everything', vendor: 0x494f, device: 1, classCode: 0xff0000 };
  readonly state = this.migratable({
    ticks: u32(),
    left: u32(),
    sum: u64(),
    name: bytes(8),
    ram: memory(64 * KiB),
    shared: memory(32 * KiB, { onReset: 'keep' }),
  });
  readonly bars = {
    0: this.registers(4 * KiB, {
      0: field(this.state, 'ticks'),
      4: register({
        read: () => this.state.left,
        write: (value) => {
          this.state.left = value;
          this.kick();
        },
      }),
      8: writeOnly((vector) => this.raise(vector)),
    }),
    1: this.memoryBar(this.state.shared, { mmap: true }),
    2: this.memoryBar(this.state.ram),
  };
  readonly interrupts = { intx: true, msix: { vectors: 3, bar: 0, table: 0x800 } };
  restored = 0;

  constructor() {
    super();
    this.every(10, () => {
      this.state.ticks += 1;
    });
  }

  protected override async work(): Promise<void> {
    while (this.state.left > 0 && !this.quiescing) {
      const [byte = 0] = await this.dma.read(0n, 1);
      this.state.sum += BigInt(byte);
      this.state.left -= 1;
      if (this.state.left === 0) this.raise(1);
    }
  }

  protected override onRestored(): void {
    this.restored++;
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('DeclaredMigration', () => {
  const closing: { close(): void }[] = [];
  afterEach(() => {
    for (const one of closing.splice(0).reverse()) one.close();
  });

  function serve<D extends PciDevice>(device: D) {
    const host = new FakeHost();
    const served = device.bind(host);
    closing.push(host, served);
    let state: MigrationState = RUNNING;
    /** Takes the device to a state by the arcs of its machine, as a server does. */
    const go = async (to: MigrationState): Promise<void> => {
      await walk(migrationMachine(served.migration.flags), state, to, (from, next) => {
        const pending = served.migration.arc(from, next);
        const arrive = () => {
          state = next;
        };
        return pending === undefined ? arrive() : pending.then(arrive);
      });
    };
    return { device, host, served, go, at: () => state };
  }

  /** Everything that a saving session yields now. */
  function drain({ migration }: ServedDevice, chunk = 5000): Uint8Array {
    const parts: Uint8Array[] = [];
    for (;;) {
      const part = new Uint8Array(chunk);
      const length = migration.read(part);
      parts.push(part.subarray(0, length));
      if (length === 0) return Buffer.concat(parts);
    }
  }

  /** Each region but the shared one as it reads. */
  function contents(served: ServedDevice): Uint8Array[] {
    return [0, 1, 2, RegionIndex.CONFIG].map((index) => {
      const region = served.regions[index];
      const target = new Uint8Array(region?.size ?? 0);
      region?.read(0, target, 0, target.length);
      return target;
    });
  }

  function dirty(served: ServedDevice, host: FakeHost): void {
    poke(served.regions[RegionIndex.CONFIG], 4, 6, 2);
    poke(served.regions[RegionIndex.CONFIG], 0x10, 0xfebf0000);
    poke(served.regions[RegionIndex.CONFIG], 0x3c, 11, 1);
    poke(served.regions[0], 0x800, 0xfee00000);
    poke(served.regions[0], 0x80c, 0);
    poke(served.regions[2], 0x4321, 0xdeadbeef);
    poke(served.regions[1], 0x123, 0x77, 1);
    host.timers.advance(50);
  }

  it('moves every field, byte and interrupt while the device runs and its memory is written', async () => {
    const source = serve(new Everything());
    const destination = serve(new Everything());
    const mapped = source.served.regions[1]?.shared?.expose() ?? -1;
    source.device.state.name.set([1, 2, 3, 4, 5, 6, 7, 8]);
    dirty(source.served, source.host);
    await destination.go(RESUMING);
    await source.go(PRE_COPY);
    destination.served.migration.write(drain(source.served));
    for (let round = 0; round < 5; round++) {
      poke(source.served.regions[2], 0x1000 * round + 8, round + 1);
      source.host.native.pwrite(mapped, Uint8Array.of(round + 1), 0, 1, 0x1000 * round + 9);
      source.host.timers.advance(10);
      destination.served.migration.write(drain(source.served));
    }
    poke(source.served.regions[0], 8, 0);
    poke(source.served.regions[RegionIndex.CONFIG], 0x42, 0x8000, 2);
    poke(source.served.regions[0], 8, 2);
    await source.go(STOP_COPY);
    const wanted = contents(source.served);
    destination.served.migration.write(drain(source.served));
    await destination.go(STOP);
    expect(contents(destination.served)).toEqual(wanted);
    expect([...destination.device.state.name]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(destination.device.restored).toBe(1);
    expect(destination.served.interrupts.pendingVectors(IrqIndex.MSIX)).toEqual([2]);
    expect(destination.served.interrupts.level).toBe(true);
    expect(peek(destination.served.regions[0], 0)).toBe(10n);
    await source.go(STOP);
    await destination.go(RUNNING);
    destination.host.timers.advance(10);
    source.host.timers.advance(1000);
    expect([destination.device.state.ticks, source.device.state.ticks]).toEqual([11, 10]);
    const signals = listen(destination.served, IrqIndex.MSIX, 2);
    expect(signals(), 'the new client gets what was raised at the source').toBe(1);
  });

  it('finishes the DMA under way at the source, and the rest of the work at the destination', async () => {
    const source = serve(new Everything());
    const destination = serve(new Everything());
    const port = source.host.messageMemory(0n, Uint8Array.of(5));
    await settled();
    port.manual = true;
    poke(source.served.regions[0], 4, 10);
    const stopping = source.go(STOP_COPY);
    await settled();
    expect(source.at(), 'DMA is outstanding').toBe(RUNNING);
    port.answer();
    await stopping;
    expect([source.device.state.left, source.device.state.sum]).toEqual([9, 5n]);
    await destination.go(RESUMING);
    destination.served.migration.write(drain(source.served));
    destination.host.messageMemory(0n, Uint8Array.of(7));
    const signals = listen(destination.served, IrqIndex.MSIX, 1);
    await destination.go(RUNNING_P2P);
    await settled();
    expect(destination.device.state.left, 'no DMA in the P2P states').toBe(9);
    await destination.go(RUNNING);
    await settled();
    expect([destination.device.state.left, destination.device.state.sum]).toEqual([0, 68n]);
    expect(signals()).toBe(1);
  });

  it('lets timers tick in the running states only', async () => {
    const { device, host, go } = serve(new Everything());
    const ticks: Record<string, boolean> = {};
    for (const state of [RUNNING_P2P, PRE_COPY_P2P, PRE_COPY, RUNNING, STOP, STOP_COPY, RESUMING]) {
      await go(state);
      const before = device.state.ticks;
      host.timers.advance(10);
      ticks[state] = device.state.ticks > before;
    }
    expect(ticks).toEqual({
      [RUNNING_P2P]: true,
      [PRE_COPY_P2P]: true,
      [PRE_COPY]: true,
      [RUNNING]: true,
      [STOP]: false,
      [STOP_COPY]: false,
      [RESUMING]: false,
    });
  });

  it('refuses to leave RESUMING with an incomplete state, and stays there', async () => {
    const source = serve(new Everything());
    const destination = serve(new Everything());
    await source.go(STOP_COPY);
    const stream = drain(source.served);
    await destination.go(RESUMING);
    await expect(destination.go(STOP)).rejects.toMatchObject({ errno: 22 });
    destination.served.migration.write(stream.subarray(0, -1));
    await expect(destination.go(RUNNING)).rejects.toMatchObject({ errno: 22 });
    expect(destination.at()).toBe(RESUMING);
    destination.served.migration.write(stream.subarray(-1));
    await destination.go(STOP);
    expect(destination.at()).toBe(STOP);
  });

  it('begins RESUMING from the reset state, and keeps what a VMM writes after the data', async () => {
    const source = serve(new Everything());
    const destination = serve(new Everything());
    await source.go(STOP_COPY);
    dirty(destination.served, destination.host);
    poke(destination.served.regions[0], 8, 0);
    await destination.go(RESUMING);
    const [, , ram, config] = contents(destination.served);
    expect(ram?.every((byte) => byte === 0)).toBe(true);
    expect(config?.[4]).toBe(0);
    expect(destination.served.interrupts.level).toBe(false);
    destination.served.migration.write(drain(source.served));
    poke(destination.served.regions[RegionIndex.CONFIG], 4, 2, 2);
    await destination.go(STOP);
    expect(peek(destination.served.regions[RegionIndex.CONFIG], 4, 2)).toBe(2n);
  });

  it('refuses the state of a device whose configuration space is another', async () => {
    class Narrow extends Everything {
      override readonly interrupts = { intx: false, msix: { vectors: 3, bar: 0, table: 0x800 } };
    }
    const source = serve(new Everything());
    const destination = serve(new Narrow());
    await source.go(STOP_COPY);
    await destination.go(RESUMING);
    expect(() => destination.served.migration.write(drain(source.served))).toThrow(/INTERRUPT_PIN/);
    await expect(destination.go(STOP)).rejects.toMatchObject({ code: 'ERR_ARC_FAILED' });
    await destination.served.reset();
    expect(peek(destination.served.regions[RegionIndex.CONFIG], 0x3d, 1)).toBe(0n);
  });

  it('estimates what is left, in each phase', async () => {
    const { served, go } = serve(new Everything());
    const whole = served.migration.dataSize();
    await go(PRE_COPY);
    const { initialBytes, dirtyBytes } = served.migration.precopyInfo();
    expect(dirtyBytes).toBe(0n);
    expect(initialBytes).toBeLessThanOrEqual(whole);
    const before = drain(served).length;
    expect(served.migration.precopyInfo()).toEqual({ initialBytes: 0n, dirtyBytes: 0n });
    poke(served.regions[2], 0, 1);
    expect(served.migration.precopyInfo().dirtyBytes).toBeGreaterThan(0n);
    await go(STOP_COPY);
    const left = served.migration.dataSize();
    const after = drain(served).length;
    expect(BigInt(after)).toBeLessThanOrEqual(left);
    expect(BigInt(before + after)).toBeLessThanOrEqual(whole + 8192n);
  });

  it('abandons a saving session without a trace, and begins another', async () => {
    const { served, go } = serve(new Everything());
    await go(PRE_COPY);
    const first = drain(served);
    await go(RUNNING);
    expect(() => served.migration.read(new Uint8Array(1))).toThrow(expect.objectContaining({ errno: 22 }));
    expect(() => served.migration.write(new Uint8Array(1))).toThrow(expect.objectContaining({ errno: 22 }));
    expect(() => served.migration.precopyInfo()).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_MIGRATION' }),
    );
    await go(PRE_COPY);
    expect(drain(served).length).toBe(first.length);
  });

  it.each([PRE_COPY, PRE_COPY_P2P, STOP_COPY, STOP, RESUMING])(
    'is aborted by a reset in state %i',
    async (state) => {
      const { device, host, served, go } = serve(new Everything());
      dirty(served, host);
      await go(state);
      await served.reset();
      expect(() => served.migration.read(new Uint8Array(1))).toThrow();
      expect(() => served.migration.write(new Uint8Array(1))).toThrow();
      expect(served.inspect()).toMatchObject({ running: true, mayInitiateDma: true });
      expect(device.state.ticks).toBe(0);
      host.timers.advance(10);
      expect(device.state.ticks).toBe(1);
    },
  );

  it("goes back to where it was when a session can't begin", async () => {
    const { device, host, served } = serve(new Everything());
    await served.migration.arc(RUNNING, RUNNING_P2P);
    await served.migration.arc(RUNNING_P2P, STOP);
    vi.spyOn(device.state.ram, 'track').mockImplementationOnce(() => {
      throw new Error('no memory');
    });
    expect(() => served.migration.arc(STOP, STOP_COPY)).toThrow('no memory');
    expect(() => served.migration.read(new Uint8Array(1))).toThrow(/no data session/);
    host.timers.advance(50);
    expect(device.state.ticks).toBe(0);
    await served.migration.arc(STOP, STOP_COPY);
    expect(drain(served).length).toBeGreaterThan(0);
  });

  it('is back before it says that it could not go, however long that takes', async () => {
    const levels: RunLevel[] = [];
    let giveUp = (): void => {};
    const slow = new Promise<void>((_, reject) => {
      giveUp = () => reject(new Error('a reset came in between'));
    });
    class Slow extends Everything {
      protected override createMigration(services: MigrationServices): DeviceMigration {
        const setLevel = (level: RunLevel) => (levels.push(level) === 1 ? undefined : slow);
        return new DeclaredMigration({ ...services, setLevel });
      }
    }
    const { device, served } = serve(new Slow());
    vi.spyOn(device.state.ram, 'track').mockImplementationOnce(() => {
      throw new Error('no memory');
    });
    const seen: unknown[] = [];
    const going = Promise.resolve(served.migration.arc(RUNNING, PRE_COPY)).catch((error) => seen.push(error));
    await settled();
    expect([levels, seen]).toEqual([[RunLevel.RUNNING, RunLevel.RUNNING], []]);
    giveUp();
    await going;
    expect(seen).toEqual([expect.objectContaining({ message: 'no memory' })]);
  });

  it("runs on, and saves on, when it can't stop", async () => {
    const { device, host, served, go, at } = serve(new Everything());
    await go(PRE_COPY_P2P);
    drain(served);
    vi.spyOn(device.state.ram, 'refresh').mockImplementationOnce(() => {
      throw new Error('lost');
    });
    await expect(go(STOP_COPY)).rejects.toThrow('lost');
    expect(at()).toBe(PRE_COPY_P2P);
    host.timers.advance(10);
    expect(device.state.ticks).toBe(1);
    await go(STOP_COPY);
    expect(drain(served).length).toBeGreaterThan(0);
  });

  it('delivers what was pending when the device runs, to a client that was there before', async () => {
    const source = serve(new Everything());
    const destination = serve(new Everything());
    poke(source.served.regions[RegionIndex.CONFIG], 0x42, 0x8000, 2);
    poke(source.served.regions[0], 8, 2);
    await source.go(STOP_COPY);
    const signals = listen(destination.served, IrqIndex.MSIX, 2);
    await destination.go(RESUMING);
    destination.served.migration.write(drain(source.served));
    await destination.go(STOP);
    expect(signals()).toBe(0);
    await destination.go(RUNNING);
    expect(signals()).toBe(1);
  });

  it("can be replaced by the author's own", () => {
    const own: DeviceMigration = {
      flags: 1,
      arc: () => {},
      read: (target) => target.fill(7).length,
      write: () => {},
      precopyInfo: () => ({ initialBytes: 0n, dirtyBytes: 0n }),
      dataSize: () => 0n,
      reset: () => {},
    };
    class Manual extends Everything {
      protected override createMigration(): DeviceMigration {
        return own;
      }
    }
    expect(serve(new Manual()).served.migration).toBe(own);
  });

  it('is refused at once for a state that could not be written', () => {
    class Odd extends PciDevice {
      readonly identity = { kind: 'odd', vendor: 1, device: 2, classCode: 0 };
      readonly state = this.migratable({ 'not a name': u32() });
      readonly bars = {};
      readonly interrupts = {};
    }
    expect(() => serve(new Odd())).toThrow(expect.objectContaining({ code: 'ERR_STREAM_SCHEMA' }));
  });
});
