import { afterEach, describe, expect, expectTypeOf, it, vi } from 'vitest';
import {
  bool,
  field,
  KiB,
  MiB,
  memory,
  PciDevice,
  readOnly,
  register,
  type ServedDevice,
  u16,
  u32,
  u64,
  writeOnly,
} from '../../src/device/index.ts';
import { IrqIndex, RegionIndex } from '../../src/protocol/index.ts';
import { FakeHost, listen, peek, poke } from '../helpers/fake-host.ts';
import { openFds } from '../helpers/open-fds.ts';

/** What the documentation shows to an author, and a little more. */
class Counter extends PciDevice {
  readonly identity = { kind: 'counter', vendor: 0x494f, device: 0x0dc8, classCode: 0xff0000 };
  readonly state = this.migratable({
    ticks: u32(),
    period: u32({ initial: 3 }),
    address: u64(),
    level: u16({ initial: 5 }),
    seen: bool(),
    scratch: memory(64 * KiB),
  });
  readonly bars = {
    0: this.registers(4 * KiB, {
      0: readOnly(() => this.state.ticks),
      4: field(this.state, 'period'),
      8: register({
        width: 8,
        read: () => this.state.address,
        write: (value) => {
          this.state.address = value;
        },
      }),
      16: writeOnly((vector) => this.raise(vector)),
      20: writeOnly(() => this.lower()),
      24: writeOnly(() => {
        this.log.push('register');
        this.kick();
        this.log.push('returns');
      }),
    }),
    2: this.memoryBar(this.state.scratch, { mmap: true, prefetchable: true, bits: 64 }),
  };
  readonly interrupts = { intx: true, msix: 4 };
  readonly log: string[] = [];

  constructor() {
    super();
    this.every(10, () => {
      this.state.ticks += 1;
      if (this.state.ticks % this.state.period === 0) this.raise();
    });
  }

  protected override work(): void {
    this.log.push('work');
  }

  protected override onReset(): void {
    this.log.push('reset');
  }

  /** The protected services, for tests. */
  readonly services = {
    kick: () => this.kick(),
    raise: (vector?: number) => this.raise(vector),
    raiseError: () => this.raiseError(),
    requestRelease: () => this.requestRelease(),
    dma: () => this.dma,
    quiescing: () => this.quiescing,
    after: (ms: number, run: () => void) => this.after(ms, run),
    declareAgain: () => this.migratable({}),
  };
}

describe('PciDevice', () => {
  const closing: { close(): void }[] = [];
  afterEach(() => {
    for (const one of closing.splice(0).reverse()) one.close();
  });

  function hostOf(mode?: FakeHost['mode']): FakeHost {
    const host = new FakeHost(mode);
    closing.push(host);
    return host;
  }

  function serve<D extends PciDevice>(
    device: D,
    host = hostOf(),
  ): { device: D; host: FakeHost; served: ServedDevice } {
    const served = device.bind(host);
    closing.push(served);
    return { device, host, served };
  }

  const config = (served: ServedDevice) => served.regions[RegionIndex.CONFIG];

  it('keeps the types of its declarations', () => {
    expectTypeOf<Counter['state']['ticks']>().toEqualTypeOf<number>();
    expectTypeOf<Counter['state']['address']>().toEqualTypeOf<bigint>();
    expectTypeOf<Counter['state']['seen']>().toEqualTypeOf<boolean>();
    expectTypeOf<Counter['state']['scratch']['size']>().toEqualTypeOf<number>();
  });

  it('has nine regions, of which those that it lacks are empty', () => {
    const { served } = serve(new Counter());
    expect(served.regions.map(({ size }) => size)).toEqual([4 * KiB, 4 * KiB, 64 * KiB, 0, 0, 0, 0, 256, 0]);
    expect(served.regions.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(served.regions.map(({ readable }) => readable)).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
      false,
      true,
      false,
    ]);
  });

  it('shows its identity, completed, in its configuration space', () => {
    const { served } = serve(new Counter());
    expect(served.identity).toEqual({
      kind: 'counter',
      vendor: 0x494f,
      device: 0x0dc8,
      classCode: 0xff0000,
      revision: 0,
      subsystemVendor: 0,
      subsystemDevice: 0,
    });
    expect(peek(config(served), 0)).toBe(0x0dc8494fn);
    expect(peek(config(served), 0x18), '64-bit and prefetchable').toBe(0xcn);
  });

  it('answers registers from its state', () => {
    const { device, served } = serve(new Counter());
    poke(served.regions[0], 4, 77);
    expect(device.state.period).toBe(77);
    poke(served.regions[0], 8, 0x1122334455667788n, 8);
    expect(peek(served.regions[0], 12)).toBe(0x11223344n);
  });

  it('runs work when it begins to run, and right after the register callback that kicked', () => {
    const { device, served } = serve(new Counter());
    expect(device.log.splice(0)).toEqual(['work']);
    poke(served.regions[0], 0x18, 1);
    expect(device.log).toEqual(['register', 'returns', 'work']);
  });

  it('ticks from timers that it set up in its constructor', () => {
    const { host, served } = serve(new Counter());
    const signals = listen(served, IrqIndex.MSIX);
    host.timers.advance(70);
    expect(peek(served.regions[0], 0)).toBe(7n);
    expect(signals()).toBe(2);
  });

  it('shares a memory BAR whose fd is its memory', () => {
    const { device, host, served } = serve(new Counter());
    const { shared } = served.regions[2] ?? {};
    expect(shared).toMatchObject({ whole: true, areas: [{ offset: 0, size: 64 * KiB }] });
    expect(served.regions[0]?.shared).toBeNull();
    expect(device.state.scratch.exposed).toBe(false);
    const fd = shared?.expose() ?? -1;
    expect(device.state.scratch.exposed).toBe(true);
    poke(served.regions[2], 0x1234, 0xcafe, 2);
    const bytes = new Uint8Array(2);
    host.native.pread(fd, bytes, 0, 2, 0x1234);
    expect(bytes).toEqual(Uint8Array.of(0xfe, 0xca));
  });

  it('shares only some areas of a memory BAR when it says so', () => {
    class Sparse extends PciDevice {
      readonly identity = { kind: 'sparse', vendor: 1, device: 2, classCode: 0 };
      readonly state = this.migratable({ ram: memory(64 * KiB), secret: memory(4 * KiB) });
      readonly bars = {
        0: this.memoryBar(this.state.ram, { mmap: [{ offset: 4 * KiB, size: 4 * KiB }] }),
        1: this.memoryBar(this.state.secret),
      };
      readonly interrupts = {};
    }
    const { served } = serve(new Sparse());
    expect(served.regions[0]?.shared).toMatchObject({
      whole: false,
      areas: [{ offset: 4 * KiB, size: 4 * KiB }],
    });
    expect(served.regions[1]?.shared).toBeNull();
    poke(served.regions[1], 8, 5);
    expect(peek(served.regions[1], 8)).toBe(5n);
  });

  it('hands raw accesses of any size to callbacks', () => {
    const log: string[] = [];
    class Raw extends PciDevice {
      readonly identity = { kind: 'raw', vendor: 1, device: 2, classCode: 0 };
      readonly interrupts = {};
      readonly bars = {
        3: this.callbacks(
          256,
          {
            read: (offset, target, at, length) => {
              log.push(`read ${offset} ${length}`);
              target.fill(offset, at, at + length);
            },
            write: (offset, source, at, length) => {
              log.push(`write ${offset} ${source.subarray(at, at + length).join()}`);
            },
          },
          { space: 'io' },
        ),
      };
    }
    const { served } = serve(new Raw());
    expect(peek(served.regions[3], 7, 3)).toBe(0x070707n);
    poke(served.regions[3], 9, 0x0102, 2);
    expect(log).toEqual(['read 7 3', 'write 9 2,1']);
    expect(served.migration.flags, 'without a declared state nothing can be migrated').toBe(0);
  });

  it('refuses the promise of a region callback', async () => {
    class Slow extends PciDevice {
      readonly identity = { kind: 'slow', vendor: 1, device: 2, classCode: 0 };
      readonly interrupts = {};
      // @ts-expect-error A region callback is synchronous by type.
      readonly bars = { 0: this.callbacks(16, { read: async () => {}, write: () => {} }) };
    }
    const { served } = serve(new Slow());
    expect(() => peek(served.regions[0], 0)).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_ASYNCHRONOUS' }),
    );
  });

  describe('interrupts', () => {
    it('show INTx in STATUS and obey COMMAND', () => {
      const { served } = serve(new Counter());
      const signals = listen(served, IrqIndex.INTX);
      poke(config(served), 4, 0x400, 2);
      poke(served.regions[0], 0x10, 0);
      expect(peek(config(served), 6, 2)).toBe(0x18n);
      expect(signals()).toBe(0);
      poke(config(served), 4, 0, 2);
      expect(signals()).toBe(1);
      poke(served.regions[0], 0x14, 0);
      expect(peek(config(served), 6, 2)).toBe(0x10n);
    });

    it('obey the MSI-X control word and the table, and show what waits in the PBA', () => {
      const { served } = serve(new Counter());
      const table = served.regions[1];
      const control = 0x42;
      expect(peek(config(served), 0x40, 2)).toBe(0x11n);
      const signals = listen(served, IrqIndex.MSIX, 2);
      poke(config(served), control, 0xc000, 2);
      poke(served.regions[0], 0x10, 2);
      expect([signals(), peek(table, 64, 8)]).toEqual([0, 4n]);
      poke(table, 2 * 16 + 12, 1);
      poke(config(served), control, 0x8000, 2);
      expect(signals(), 'masked in the table').toBe(0);
      poke(table, 2 * 16 + 12, 0);
      expect([signals(), peek(table, 64, 8)]).toEqual([1, 0n]);
      poke(table, 64, 0xff, 1);
      expect(peek(table, 64, 8), 'the PBA is read-only').toBe(0n);
      expect(peek(table, 200), 'the rest of the BAR is empty').toBe(0n);
    });

    it('show what MSI holds back in its pending bits', () => {
      class Msi extends PciDevice {
        readonly identity = { kind: 'msi', vendor: 1, device: 2, classCode: 0 };
        readonly interrupts = { msi: { vectors: 32, maskable: true } };
        readonly bars = { 0: this.registers(16, { 0: writeOnly((vector) => this.raise(vector)) }) };
      }
      const { served } = serve(new Msi());
      const signals = listen(served, IrqIndex.MSI, 31);
      poke(config(served), 0x42, 0x1 | (5 << 4), 2);
      poke(config(served), 0x50, 0x80000000);
      poke(served.regions[0], 0, 31);
      expect([signals(), peek(config(served), 0x54)]).toEqual([0, 0x80000000n]);
      poke(config(served), 0x50, 0);
      expect([signals(), peek(config(served), 0x54)]).toEqual([1, 0n]);
    });

    it('tell the VMM of errors and ask for release', () => {
      const { device, served } = serve(new Counter());
      const errors = listen(served, IrqIndex.ERR);
      const requests = listen(served, IrqIndex.REQ);
      device.services.raiseError();
      device.services.requestRelease();
      expect([errors(), requests()]).toEqual([1, 1]);
    });

    it('lose their triggers with the main connection, and nothing else', () => {
      const { device, served } = serve(new Counter());
      poke(config(served), 0x42, 0x8000, 2);
      const before = listen(served, IrqIndex.MSIX);
      served.disconnected();
      device.services.raise(0);
      expect(before()).toBe(0);
      expect(listen(served, IrqIndex.MSIX)(), 'what nobody heard waits for the next').toBe(1);
      expect(served.interrupts.pendingVectors(IrqIndex.MSIX)).toEqual([]);
    });
  });

  describe('reset', () => {
    it("restores everything that is the device's, and runs it", () => {
      const { device, host, served } = serve(new Counter());
      poke(config(served), 4, 6, 2);
      poke(config(served), 0x10, 0xfe000000);
      poke(config(served), 0x42, 0x8000, 2);
      poke(served.regions[1], 12, 0);
      poke(served.regions[0], 0x10, 1);
      poke(served.regions[2], 100, 1);
      device.state.period = 9;
      host.timers.advance(20);
      device.log.length = 0;
      expect(served.reset()).toBeUndefined();
      expect([peek(config(served), 4, 2), peek(config(served), 0x10), peek(config(served), 0x42, 2)]).toEqual(
        [0n, 0n, 3n],
      );
      expect(peek(served.regions[1], 12)).toBe(1n);
      expect(served.inspect().interrupts.pendingMsix).toEqual([]);
      expect(peek(served.regions[2], 100)).toBe(0n);
      expect([device.state.ticks, device.state.period, device.state.level]).toEqual([0, 3, 5]);
      expect(device.log).toEqual(['reset', 'work']);
      host.timers.advance(10);
      expect(device.state.ticks).toBe(1);
    });

    it('keeps what belongs to the main connection', () => {
      const { device, served } = serve(new Counter());
      const signals = listen(served, IrqIndex.MSIX);
      served.reset();
      device.services.raise(0);
      expect(signals()).toBe(1);
    });

    it('forgets one-shot timers: they belong to a state that is gone', () => {
      const { device, host, served } = serve(new Counter());
      const late = vi.fn();
      device.services.after(5, late);
      served.reset();
      host.timers.advance(100);
      expect(late).not.toHaveBeenCalled();
    });

    it('does not wait for a peer, and what abandoned work does no longer counts', async () => {
      class Reader extends PciDevice {
        readonly identity = { kind: 'reader', vendor: 1, device: 2, classCode: 0 };
        readonly interrupts = { msix: 1 };
        readonly state = this.migratable({ command: u32(), failures: u32() });
        readonly bars = {
          0: this.registers(16, {
            0: register({
              write: (value) => {
                this.state.command = value;
                this.kick();
              },
            }),
          }),
        };

        protected override async work(): Promise<void> {
          if (this.state.command === 0) return;
          try {
            await this.dma.read(0n, 16);
          } catch {
            this.state.failures += 1;
            this.raise();
          }
        }
      }
      const { device, host, served } = serve(new Reader());
      const port = host.messageMemory(0n, new Uint8Array(4096));
      port.manual = true;
      const signals = listen(served, IrqIndex.MSIX);
      await new Promise((resolve) => setImmediate(resolve));
      poke(served.regions[0], 0, 1);
      expect(served.inspect()).toMatchObject({ working: true, outstandingDma: 1 });
      const first = served.reset();
      expect(served.reset(), 'a second reset joins the first').toBe(first);
      await first;
      expect([device.state.failures, device.state.command, signals()]).toEqual([0, 0, 0]);
      expect(served.inspect()).toMatchObject({ working: false, running: true, outstandingDma: 1 });
      expect(host.reported).toEqual([]);
      expect(served.asynchronous).toBe(true);
    });
  });

  describe('bus mastering', () => {
    class Master extends PciDevice {
      readonly identity = { kind: 'master', vendor: 1, device: 2, classCode: 0 };
      readonly interrupts = {};
      readonly bars = { 0: this.registers(16, { 0: writeOnly(() => this.kick()) }) };
      override readonly options = { requireBusMaster: true };
      done = 0;

      protected override work(): void {
        this.dma.writeSync(0n, Uint8Array.of(1));
        this.done++;
      }
    }

    it('is waited for where the device cares', () => {
      const { device, host, served } = serve(new Master());
      const guest = host.mapMemory(0n, 4096);
      poke(served.regions[0], 0, 1);
      expect(device.done).toBe(0);
      poke(config(served), 4, 4, 2);
      expect([device.done, guest[0]]).toEqual([1, 1]);
      expect(host.reported).toEqual([]);
    });
  });

  describe('binding', () => {
    it('happens once', () => {
      const { device, host } = serve(new Counter());
      expect(() => device.bind(host)).toThrow(expect.objectContaining({ code: 'ERR_DEVICE_BOUND' }));
    });

    it('keeps a kick that came before: work is called when the device begins to run', () => {
      class Eager extends Counter {
        constructor() {
          super();
          this.kick();
          this.log.push('made');
        }
      }
      const { device, host } = serve(new Eager());
      expect(device.log).toEqual(['made', 'work']);
      expect(host.reported).toEqual([]);
    });

    it('comes before the other services', () => {
      const { services } = new Counter();
      for (const use of [services.raise, services.dma, services.quiescing]) {
        expect(() => use()).toThrow(expect.objectContaining({ code: 'ERR_DEVICE_BOUND' }));
      }
    });

    it('refuses an asynchronous device in dedicated mode, with the reason', () => {
      class Eventually extends Counter {
        protected override async work(): Promise<void> {}
      }
      class Promises extends Counter {
        override readonly asynchronous = true;
      }
      for (const device of [new Eventually(), new Promises()]) {
        expect(() => device.bind(hostOf('dedicated'))).toThrow(
          expect.objectContaining({
            code: 'ERR_DEVICE_ASYNCHRONOUS',
            message: expect.stringContaining('blocks'),
          }),
        );
      }
      expect(serve(new Counter(), hostOf('dedicated')).served.asynchronous).toBe(false);
    });

    it('is refused for declarations that make no sense', () => {
      class Wrong extends Counter {
        override readonly interrupts = { intx: true, msix: 5000 };
      }
      expect(() => new Wrong().bind(hostOf())).toThrow(
        expect.objectContaining({ code: 'ERR_DEVICE_DECLARATION' }),
      );
      expect(() => new Counter().services.declareAgain()).toThrow(/once/);
    });
  });

  it('gives everything back when it is closed, and that twice does no harm', () => {
    const host = hostOf();
    const before = openFds();
    const served = new Counter().bind(host);
    expect(openFds().length).toBe(before.length + 1);
    served.close();
    served.close();
    expect(openFds()).toEqual(before);
    expect(host.timers.count).toBe(0);
    served.reset();
    expect(host.timers.count).toBe(0);
  });

  it('tells about itself', () => {
    const { served } = serve(new Counter());
    served.interrupts.hold();
    poke(served.regions[0], 0x10, 0);
    expect(served.inspect()).toEqual({
      running: true,
      mayInitiateDma: true,
      working: false,
      outstandingDma: 0,
      interrupts: { mode: 'intx', level: true, pendingMsi: [], pendingMsix: [], held: true },
    });
  });

  it('has the configuration space of PCI Express if it says so', () => {
    class Express extends Counter {
      override readonly options = { express: true };
    }
    const { served } = serve(new Express());
    expect(config(served)?.size).toBe(4096);
  });

  it('has large 64-bit BARs without memory behind them', () => {
    class Huge extends PciDevice {
      readonly identity = { kind: 'huge', vendor: 1, device: 2, classCode: 0 };
      readonly interrupts = {};
      readonly bars = {
        0: this.registers(1024 * 1024 * MiB, { [8 * 1024 * MiB]: readOnly(() => 5) }, { bits: 64 }),
      };
    }
    const { served } = serve(new Huge());
    expect(peek(served.regions[0], 8 * 1024 * MiB)).toBe(5n);
  });
});
