import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import {
  EDU_BUFFER,
  Edu,
  EduDmaCommand,
  EduInterrupt,
  EduStatus,
  EduRegister as Reg,
} from '../../src/devices/index.ts';
import { IrqIndex, RegionIndex } from '../../src/protocol/index.ts';
import { FakeHost, listen, peek, poke } from '../helpers/fake-host.ts';

const ALL_ONES = 0xffffffffn;
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe.each([true, false])('edu (asynchronous: %s)', (asynchronous) => {
  const closing: { close(): void }[] = [];
  afterEach(() => {
    for (const one of closing.splice(0).reverse()) one.close();
  });

  function make() {
    const host = new FakeHost(asynchronous ? 'event-loop' : 'dedicated');
    const device = new Edu({ asynchronous });
    const served = device.bind(host);
    closing.push(host, served);
    const [bar] = served.regions;
    return {
      host,
      device,
      served,
      read: (offset: number, length = 4) => peek(bar, offset, length),
      write: (offset: number, value: number | bigint, length = 4) => poke(bar, offset, value, length),
    };
  }

  it('is who QEMU says', () => {
    const { served } = make();
    const config = served.regions[RegionIndex.CONFIG];
    expect(peek(config, 0)).toBe(0x11e81234n);
    expect(peek(config, 8)).toBe(0x00ff0010n);
    poke(config, 0x10, 0xffffffff);
    expect(peek(config, 0x10), '1 MiB').toBe(0xfff00000n);
    expect(peek(config, 0x3d, 1)).toBe(1n);
    expect(
      [IrqIndex.INTX, IrqIndex.MSI, IrqIndex.MSIX].map((index) => served.interrupts.info(index).count),
    ).toEqual([1, 1, 0]);
    expect(served.asynchronous).toBe(asynchronous);
  });

  it('identifies itself and is alive', () => {
    const { read, write } = make();
    expect(read(Reg.IDENTIFICATION)).toBe(0x010000edn);
    write(Reg.LIVENESS, 0x12345678);
    expect(read(Reg.LIVENESS)).toBe(0xedcba987n);
  });

  it.each<[string, number, number, bigint]>([
    ['1 byte of a register', Reg.IDENTIFICATION, 1, 0xffn],
    ['2 bytes of a register', Reg.IDENTIFICATION, 2, 0xffffn],
    ['8 bytes below 0x80', Reg.IDENTIFICATION, 8, 0xffffffffffffffffn],
    ['a part of a register', Reg.LIVENESS + 2, 4, ALL_ONES],
    ['a hole', 0x0c, 4, ALL_ONES],
    ['a write-only register', Reg.INTERRUPT_RAISE, 4, ALL_ONES],
    ['4 bytes of a DMA register', Reg.DMA_SOURCE, 4, 0x55667788n],
    ['8 bytes of a DMA register', Reg.DMA_SOURCE, 8, 0x1122334455667788n],
    ['the upper half of a DMA register', Reg.DMA_SOURCE + 4, 4, ALL_ONES],
    ['2 bytes of a DMA register', Reg.DMA_SOURCE, 2, 0xffffn],
    ['the buffer, which is not mapped', 0x40000, 4, ALL_ONES],
  ])('reads %s', (_, offset, length, value) => {
    const { read, write } = make();
    write(Reg.DMA_SOURCE, 0x1122334455667788n, 8);
    expect(read(offset, length)).toBe(value);
  });

  it('ignores writes of a size that it does not take', () => {
    const { read, write } = make();
    write(Reg.LIVENESS, 0, 4);
    write(Reg.LIVENESS, 1, 1);
    write(Reg.LIVENESS, 1, 8);
    expect(read(Reg.LIVENESS)).toBe(ALL_ONES);
    write(Reg.DMA_COUNT, 0x1_0000_0005n, 8);
    write(Reg.DMA_COUNT, 7, 4);
    expect(read(Reg.DMA_COUNT, 8), 'a 4-byte write sets all 64 bits').toBe(7n);
  });

  it('computes factorials modulo 2^32', async () => {
    const { read, write } = make();
    await settled();
    const expected = (n: number): bigint => {
      let result = 1n;
      for (let factor = 2n; factor <= BigInt(Math.min(n, 40)); factor++)
        result = (result * factor) & ALL_ONES;
      return result;
    };
    for (const n of [0, 1, 5, 12, 13, 20, 33, 34, 0xffffffff]) {
      write(Reg.FACTORIAL, n);
      await settled();
      expect([read(Reg.FACTORIAL), read(Reg.STATUS)], `${n}!`).toEqual([expected(n), 0n]);
    }
  });

  it('raises an interrupt after a factorial if it was asked to', async () => {
    const { served, read, write } = make();
    await settled();
    const signals = listen(served, IrqIndex.INTX);
    write(Reg.STATUS, 0xffffffff);
    expect(read(Reg.STATUS), 'COMPUTING is read-only').toBe(BigInt(EduStatus.INTERRUPT));
    write(Reg.FACTORIAL, 4);
    await settled();
    expect([read(Reg.FACTORIAL), read(Reg.INTERRUPT_STATUS), signals()]).toEqual([
      24n,
      BigInt(EduInterrupt.FACTORIAL),
      1,
    ]);
    write(Reg.INTERRUPT_ACKNOWLEDGE, EduInterrupt.FACTORIAL);
    served.interrupts.unmask(IrqIndex.INTX, 0, 1);
    expect([read(Reg.INTERRUPT_STATUS), signals(), served.interrupts.level]).toEqual([0n, 1, false]);
  });

  it('raises and acknowledges interrupts by register', () => {
    const { served, read, write } = make();
    write(Reg.INTERRUPT_RAISE, 0x30);
    expect([read(Reg.INTERRUPT_STATUS), served.interrupts.level]).toEqual([0x30n, true]);
    write(Reg.INTERRUPT_ACKNOWLEDGE, 0x10);
    expect([read(Reg.INTERRUPT_STATUS), served.interrupts.level]).toEqual([0x20n, true]);
    write(Reg.INTERRUPT_ACKNOWLEDGE, 0x20);
    expect([read(Reg.INTERRUPT_STATUS), served.interrupts.level]).toEqual([0n, false]);
  });

  it('uses MSI once the guest has enabled it', () => {
    const { served, write } = make();
    const signals = listen(served, IrqIndex.MSI);
    poke(served.regions[RegionIndex.CONFIG], 0x42, 1, 2);
    write(Reg.INTERRUPT_RAISE, 1);
    write(Reg.INTERRUPT_RAISE, 1);
    expect([signals(), served.interrupts.level]).toEqual([2, false]);
  });

  describe('DMA', () => {
    /** Starts a transfer and lets it end. */
    async function transfer(
      edu: ReturnType<typeof make>,
      from: bigint,
      to: bigint,
      count: number | bigint,
      command: number,
    ) {
      await settled();
      edu.write(Reg.DMA_SOURCE, from, 8);
      edu.write(Reg.DMA_DESTINATION, to, 8);
      edu.write(Reg.DMA_COUNT, count, 8);
      edu.write(Reg.DMA_COMMAND, command | EduDmaCommand.RUN, 8);
      await settled();
    }

    it('moves guest memory into the buffer and back', async () => {
      const edu = make();
      const guest = edu.host.mapMemory(0n, 0x10000);
      await fc.assert(
        fc.asyncProperty(
          fc.uint8Array({ minLength: 1, maxLength: 4096 }),
          fc.nat({ max: 4095 }),
          async (data, at) => {
            const length = Math.min(data.length, 4096 - at);
            guest.set(data, 0x1000);
            guest.fill(0, 0x8000);
            await transfer(edu, 0x1000n, EDU_BUFFER + BigInt(at), length, 0);
            await transfer(edu, EDU_BUFFER + BigInt(at), 0x8000n, length, EduDmaCommand.TO_MEMORY);
            expect(guest.subarray(0x8000, 0x8000 + length)).toEqual(data.subarray(0, length));
          },
        ),
        { numRuns: 20 },
      );
      expect(edu.read(Reg.DMA_COMMAND, 8), 'RUN is clear, the rest stays').toBe(
        BigInt(EduDmaCommand.TO_MEMORY),
      );
    });

    it('reaches 28 bits of guest memory', async () => {
      const edu = make();
      const guest = edu.host.mapMemory(0n, 0x1000);
      await transfer(edu, EDU_BUFFER, 0xff_f000_0010n, 4, EduDmaCommand.TO_MEMORY);
      edu.device.state.buffer.set([1, 2, 3, 4]);
      await transfer(edu, EDU_BUFFER, 0xff_f000_0010n, 4, EduDmaCommand.TO_MEMORY);
      expect([...guest.subarray(0x10, 0x14)]).toEqual([1, 2, 3, 4]);
    });

    it('raises an interrupt at its end if it was asked to', async () => {
      const edu = make();
      edu.host.mapMemory(0n, 0x1000);
      const signals = listen(edu.served, IrqIndex.INTX);
      await transfer(edu, 0n, EDU_BUFFER, 16, 0);
      expect(signals()).toBe(0);
      await transfer(edu, 0n, EDU_BUFFER, 16, EduDmaCommand.INTERRUPT);
      expect([signals(), edu.read(Reg.INTERRUPT_STATUS)]).toEqual([1, BigInt(EduInterrupt.DMA)]);
    });

    it.each<[string, bigint, bigint, bigint]>([
      ['begins before the buffer', 0n, EDU_BUFFER - 1n, 2n],
      ['ends behind the buffer', 0n, EDU_BUFFER + 4095n, 2n],
      ['wraps around', 0n, EDU_BUFFER, 0xffffffffffffffffn],
      ['is not mapped in the guest', 0x8000n, EDU_BUFFER, 16n],
    ])('moves nothing where it %s, and still ends', async (_, from, to, count) => {
      const edu = make();
      edu.host.mapMemory(0n, 0x1000).fill(0xaa);
      const signals = listen(edu.served, IrqIndex.INTX);
      await transfer(edu, from, to, count, EduDmaCommand.INTERRUPT);
      expect(edu.device.state.buffer.every((byte) => byte === 0)).toBe(true);
      expect([edu.read(Reg.DMA_COMMAND, 8), signals()]).toEqual([BigInt(EduDmaCommand.INTERRUPT), 1]);
      expect(edu.host.reported).toEqual([]);
    });

    it('starts only with RUN', async () => {
      const edu = make();
      await settled();
      edu.write(Reg.DMA_COMMAND, EduDmaCommand.TO_MEMORY, 8);
      expect(edu.read(Reg.DMA_COMMAND, 8)).toBe(0n);
    });
  });
});

describe('edu by message', () => {
  it('shows a transfer while it runs, and takes no changes meanwhile', async () => {
    const host = new FakeHost();
    const served = new Edu().bind(host);
    const [bar] = served.regions;
    const port = host.messageMemory(
      0n,
      Uint8Array.from({ length: 4096 }, (_, i) => i),
    );
    port.manual = true;
    await settled();
    poke(bar, Reg.DMA_SOURCE, 8, 8);
    poke(bar, Reg.DMA_DESTINATION, EDU_BUFFER, 8);
    poke(bar, Reg.DMA_COUNT, 4, 8);
    poke(bar, Reg.DMA_COMMAND, EduDmaCommand.RUN, 4);
    poke(bar, Reg.DMA_SOURCE, 99, 8);
    expect([peek(bar, Reg.DMA_COMMAND, 8), peek(bar, Reg.DMA_SOURCE, 8)]).toEqual([1n, 8n]);
    poke(bar, Reg.FACTORIAL, 3);
    expect(peek(bar, Reg.STATUS), 'one thing at a time').toBe(BigInt(EduStatus.COMPUTING));
    poke(bar, Reg.FACTORIAL, 4);
    port.answer();
    await settled();
    expect([peek(bar, Reg.DMA_COMMAND, 8), peek(bar, Reg.FACTORIAL), peek(bar, Reg.STATUS)]).toEqual([
      0n,
      6n,
      0n,
    ]);
    served.close();
    host.close();
  });
});
