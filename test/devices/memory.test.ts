import { crc32 } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/device/index.ts';
import {
  MEMORY_ID,
  MEMORY_VECTORS,
  MEMORY_VERSION,
  MemoryCommand,
  MemoryDevice,
  MemoryRegister as Reg,
  MemoryStatus as Status,
} from '../../src/devices/index.ts';
import { IrqIndex, RegionIndex } from '../../src/protocol/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { FakeHost, listen, peek, poke } from '../helpers/fake-host.ts';

const { RUNNING, RUNNING_P2P, STOP, STOP_COPY, RESUMING } = MigrationState;
const SIZE = 1 * MiB;
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe.each([true, false])('the memory device (asynchronous: %s)', (asynchronous) => {
  const closing: { close(): void }[] = [];
  afterEach(() => {
    for (const one of closing.splice(0).reverse()) one.close();
  });

  function make(size = SIZE) {
    const host = new FakeHost(asynchronous ? 'event-loop' : 'dedicated');
    const device = new MemoryDevice({ size, asynchronous });
    const served = device.bind(host);
    closing.push(host, served);
    const [bar] = served.regions;
    return {
      host,
      device,
      served,
      read: (offset: number, length = 4) => Number(peek(bar, offset, length)),
      write: (offset: number, value: number, length = 4) => poke(bar, offset, value, length),
    };
  }

  /** Starts a command over a guest buffer and lets it end. */
  async function command(memory: ReturnType<typeof make>, what: number, address: bigint, length: number) {
    await settled();
    memory.write(Reg.DMA_ADDRESS_LOW, Number(address & 0xffffffffn));
    memory.write(Reg.DMA_ADDRESS_HIGH, Number(address >> 32n));
    memory.write(Reg.DMA_LENGTH, length);
    memory.write(Reg.COMMAND, what);
    for (let i = 0; i < 20 && memory.read(Reg.COMMAND) !== 0; i++) {
      await settled();
      memory.host.timers.advance(1);
    }
  }

  it('says who it is and how large', () => {
    const { read, served } = make();
    expect([read(Reg.ID), read(Reg.VERSION), read(Reg.SIZE_LOW), read(Reg.SIZE_HIGH)]).toEqual([
      MEMORY_ID,
      MEMORY_VERSION,
      SIZE,
      0,
    ]);
    expect(served.regions.map(({ size }) => size)).toEqual([4 * KiB, 4 * KiB, SIZE, 0, 0, 0, 0, 256, 0]);
    expect(peek(served.regions[RegionIndex.CONFIG], 0x18), '64 bits, prefetchable').toBe(0xcn);
    expect(served.regions[2]?.shared?.whole).toBe(true);
    expect([IrqIndex.INTX, IrqIndex.MSIX].map((index) => served.interrupts.info(index).count)).toEqual([
      1,
      MEMORY_VECTORS,
    ]);
  });

  it('can be read at every offset and width of its page', () => {
    const { served } = make();
    for (let offset = 0; offset < 4 * KiB; offset++) {
      for (const length of [1, 2, 4, 8]) {
        if (offset + length <= 4 * KiB) expect(() => peek(served.regions[0], offset, length)).not.toThrow();
      }
    }
  });

  it('keeps scratch words apart', () => {
    const { read, write } = make();
    for (let word = 0; word < 224; word++) write(Reg.SCRATCH + 4 * word, word + 1);
    for (let word = 0; word < 224; word++) expect(read(Reg.SCRATCH + 4 * word)).toBe(word + 1);
    write(Reg.SCRATCH + 4 * 224, 5);
    expect(read(Reg.SCRATCH + 4 * 224)).toBe(0);
  });

  it('holds an image, and keeps it over a reset', async () => {
    const { device, served } = make();
    device.load(Uint8Array.of(1, 2, 3), 0x1000);
    expect(peek(served.regions[2], 0x1000)).toBe(0x030201n);
    await served.reset();
    expect(peek(served.regions[2], 0x1000)).toBe(0x030201n);
    expect(() => device.load(new Uint8Array(2), SIZE - 1)).toThrow(
      expect.objectContaining({ code: 'ERR_STATE_RANGE' }),
    );
  });

  it('holds an image that was loaded before it was bound', () => {
    const device = new MemoryDevice({ size: 4 * KiB, asynchronous });
    device.load(Uint8Array.of(9));
    const host = new FakeHost();
    const served = device.bind(host);
    closing.push(host, served);
    expect(peek(served.regions[2], 0, 1)).toBe(9n);
  });

  describe('the checksum', () => {
    it.each([0, 1, 4095, 256 * KiB, 256 * KiB + 1, 700 * KiB])(
      'of %i bytes is that of zlib',
      async (length) => {
        const memory = make();
        const guest = memory.host.mapMemory(0x1_0000_0000n, SIZE);
        for (let i = 0; i < guest.length; i += 7) guest[i] = i;
        await command(memory, MemoryCommand.CHECKSUM, 0x1_0000_0010n, length);
        expect(memory.read(Reg.RESULT)).toBe(crc32(guest.subarray(0x10, 0x10 + length)));
        expect([memory.read(Reg.STATUS), memory.read(Reg.ERROR), memory.read(Reg.COMPLETED)]).toEqual([
          Status.DONE,
          0,
          1,
        ]);
      },
    );

    it('raises the chosen vector at its end', async () => {
      const memory = make();
      memory.host.mapMemory(0n, 4096);
      const signals = listen(memory.served, IrqIndex.MSIX, 3);
      memory.write(Reg.VECTOR, 3);
      await command(memory, MemoryCommand.CHECKSUM, 0n, 16);
      expect([signals(), memory.read(Reg.INTERRUPT_STATUS)]).toEqual([1, 8]);
    });

    it('fails with an errno where the guest has no memory', async () => {
      const memory = make();
      memory.host.mapMemory(0n, 4096);
      await command(memory, MemoryCommand.CHECKSUM, 4000n, 200);
      expect([memory.read(Reg.STATUS), memory.read(Reg.ERROR), memory.read(Reg.RESULT)]).toEqual([
        Status.DONE | Status.FAILED,
        14,
        0,
      ]);
      memory.write(Reg.STATUS, Status.DONE | Status.FAILED);
      expect(memory.read(Reg.STATUS)).toBe(0);
      expect(memory.host.reported).toEqual([]);
    });
  });

  it('echoes at once, and counts its interrupts', () => {
    const { served, read, write } = make();
    const signals = listen(served, IrqIndex.MSIX);
    write(Reg.COMMAND, MemoryCommand.ECHO);
    write(Reg.DOORBELL, 4);
    write(Reg.DOORBELL, 2);
    expect(signals()).toBe(2);
    expect([
      read(Reg.INTERRUPTS),
      read(Reg.INTERRUPTS_0),
      read(Reg.INTERRUPTS_0 + 8),
      read(Reg.INTERRUPTS_0 + 12),
    ]).toEqual([3, 2, 1, 0]);
    expect(read(Reg.COMPLETED)).toBe(1);
  });

  it('ignores unknown commands', () => {
    const { read, write } = make();
    write(Reg.COMMAND, 77);
    expect([read(Reg.COMMAND), read(Reg.STATUS), read(Reg.INTERRUPTS)]).toEqual([0, 0, 0]);
  });

  it('deasserts INTx when all its interrupts are acknowledged', () => {
    const { served, write } = make();
    write(Reg.DOORBELL, 0);
    write(Reg.DOORBELL, 1);
    write(Reg.INTERRUPT_STATUS, 1);
    expect(served.interrupts.level).toBe(true);
    write(Reg.INTERRUPT_STATUS, 2);
    expect(served.interrupts.level).toBe(false);
  });

  it('ticks while it runs, as fast as the guest says', async () => {
    const { host, served, read, write } = make();
    host.timers.advance(25);
    expect(read(Reg.TICKS)).toBe(2);
    write(Reg.PERIOD, 1);
    host.timers.advance(25);
    expect(read(Reg.TICKS)).toBe(27);
    write(Reg.PERIOD, 0);
    host.timers.advance(25);
    expect(read(Reg.TICKS)).toBe(27);
    write(Reg.PERIOD, 0xffffffff);
    expect(read(Reg.PERIOD)).toBe(0xffffff);
    await served.reset();
    expect([read(Reg.TICKS), read(Reg.PERIOD)]).toEqual([0, 10]);
    host.timers.advance(10);
    expect(read(Reg.TICKS)).toBe(1);
  });

  it('ticks on at the destination as fast as at the source', async () => {
    const source = make();
    const destination = make();
    await settled();
    source.write(Reg.PERIOD, 2);
    source.host.timers.advance(10);
    const { migration } = source.served;
    await migration.arc(RUNNING, RUNNING_P2P);
    await migration.arc(RUNNING_P2P, STOP);
    await migration.arc(STOP, STOP_COPY);
    for (const [from, to] of [
      [RUNNING, RUNNING_P2P],
      [RUNNING_P2P, STOP],
      [STOP, RESUMING],
    ] as const) {
      await destination.served.migration.arc(from, to);
    }
    const chunk = new Uint8Array(64 * KiB);
    for (let length = migration.read(chunk); length > 0; length = migration.read(chunk)) {
      destination.served.migration.write(chunk.subarray(0, length));
    }
    for (const [from, to] of [
      [RESUMING, STOP],
      [STOP, RUNNING_P2P],
      [RUNNING_P2P, RUNNING],
    ] as const) {
      await destination.served.migration.arc(from, to);
    }
    destination.host.timers.advance(10);
    expect(destination.read(Reg.TICKS)).toBe(10);
  });
});

describe('the memory device by message', () => {
  it('is busy meanwhile, takes no changes, and goes on at the destination where it was stopped', async () => {
    const host = new FakeHost();
    const device = new MemoryDevice({ size: 4 * KiB });
    const served = device.bind(host);
    const [bar] = served.regions;
    const guest = Uint8Array.from({ length: 600 * KiB }, (_, i) => i * 7);
    const port = host.messageMemory(0n, guest);
    port.manual = true;
    await settled();
    poke(bar, Reg.DMA_LENGTH, guest.length);
    poke(bar, Reg.COMMAND, MemoryCommand.CHECKSUM);
    poke(bar, Reg.DMA_LENGTH, 5);
    expect([peek(bar, Reg.STATUS), peek(bar, Reg.DMA_LENGTH)]).toEqual([
      BigInt(Status.BUSY),
      BigInt(guest.length),
    ]);
    const stopped = served.migration.arc(RUNNING, RUNNING_P2P);
    port.answer();
    await stopped;
    expect(device.state.progress, 'one piece').toBe(256 * KiB);
    expect(peek(bar, Reg.COMMAND)).toBe(1n);
    port.manual = false;
    await served.migration.arc(RUNNING_P2P, RUNNING);
    await settled();
    expect(peek(bar, Reg.RESULT)).toBe(BigInt(crc32(guest)));
    served.close();
    host.close();
  });

  it('refuses a size that no BAR can have', () => {
    expect(() => new MemoryDevice({ size: 3 * 4096 }).bind(new FakeHost())).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_DECLARATION' }),
    );
    expect(() => new MemoryDevice({ size: 100 })).toThrow(
      expect.objectContaining({ code: 'ERR_STATE_DECLARATION' }),
    );
  });
});
