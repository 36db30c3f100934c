import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import {
  SerialCause as Cause,
  SerialEnable as Enable,
  SerialFifo as Fifo,
  SerialModemControl as Modem,
  SerialRegister as Reg,
  Serial,
} from '../../src/devices/index.ts';
import { IrqIndex, RegionIndex } from '../../src/protocol/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { FakeHost, listen, peek, poke } from '../helpers/fake-host.ts';
import { SerialBench } from './serial-bench.ts';

const { RUNNING, STOP, STOP_COPY, RESUMING } = MigrationState;
const READY = Modem.DTR | Modem.RTS;

describe('serial', () => {
  const closing: { close(): void }[] = [];
  afterEach(() => {
    for (const one of closing.splice(0).reverse()) one.close();
  });

  function make() {
    const host = new FakeHost();
    const bench = new SerialBench();
    const device = new Serial({ backend: bench });
    const served = device.bind(host);
    closing.push(host, served);
    const [bar] = served.regions;
    const read = (offset: number) => Number(peek(bar, offset, 1));
    const write = (offset: number, value: number) => poke(bar, offset, value, 1);
    /** What a driver's interrupt handler does: takes bytes as long as there are any. */
    const handle = (): number[] => {
      const received: number[] = [];
      while ((read(Reg.LSR) & 1) !== 0) received.push(read(Reg.DATA));
      return received;
    };
    return { host, bench, device, served, read, write, handle, cause: () => read(Reg.IIR) & 0x0f };
  }

  /** One whose driver has set it up: FIFOs on with a trigger level of 8, ready to receive. */
  function open(interrupts = 0) {
    const serial = make();
    serial.write(Reg.FCR, Fifo.ENABLE | (2 << Fifo.TRIGGER_SHIFT));
    serial.write(Reg.MCR, READY);
    serial.write(Reg.IER, interrupts);
    return serial;
  }

  it('is the pci-serial of QEMU: 8 bytes of I/O space, INTx, class 16550', () => {
    const { served } = make();
    const config = served.regions[RegionIndex.CONFIG];
    expect([peek(config, 0), peek(config, 8)]).toEqual([0x00021b36n, 0x07000201n]);
    poke(config, 0x10, 0xffffffff);
    expect(peek(config, 0x10)).toBe(0xfffffff9n);
    expect(served.interrupts.info(IrqIndex.INTX).count).toBe(1);
  });

  it('has the registers of a 16550A after reset', () => {
    const { read } = make();
    expect([1, 2, 3, 4, 5, 6, 7].map(read)).toEqual([0, 0x01, 0, 0, 0x60, 0xb0, 0]);
  });

  it.each([
    ['scratch keeps what is written', Reg.SCR, 0xa5, 0xa5],
    ['LCR keeps what is written', Reg.LCR, 0x7f, 0x7f],
    ['IER has four bits, no sleep mode', Reg.IER, 0xff, 0x0f],
    ['MCR has five bits, no automatic flow control', Reg.MCR, 0xff, 0x1f],
    ['LSR is read-only', Reg.LSR, 0xff, 0x60],
    ['MSR is read-only', Reg.MSR, 0xff, 0xb0],
  ])('%s', (_, register, written, read) => {
    const serial = make();
    serial.write(register, written);
    expect(serial.read(register)).toBe(read);
  });

  it.each([
    ['off', 0x00, 0x01],
    ['on', 0x01, 0xc1],
    ['of a 16750 that it does not have', 0x21, 0xc1],
    ['off with a trigger level', 0xc0, 0x01],
  ])('tells a driver by IIR that its FIFOs are %s', (_, fifoControl, cause) => {
    const { read, write } = make();
    write(Reg.FCR, fifoControl);
    expect(read(Reg.IIR)).toBe(cause);
  });

  it('swaps the data and interrupt registers for the divisor while DLAB is set', () => {
    const { device, read, write, bench } = make();
    write(Reg.IER, 5);
    write(Reg.LCR, 0x80);
    write(Reg.DATA, 0x80);
    write(Reg.IER, 0x01);
    expect([read(Reg.DATA), read(Reg.IER), bench.sent]).toEqual([0x80, 0x01, []]);
    write(Reg.LCR, 0x03);
    expect([read(Reg.DATA), read(Reg.IER), device.settings.baud]).toEqual([0, 5, 300]);
  });

  it.each([
    [0x00, 12, { baud: 9600, dataBits: 5, parity: 'none', stopBits: 1 }],
    [0x03, 1, { baud: 115200, dataBits: 8, parity: 'none', stopBits: 1 }],
    [0x0f, 2, { baud: 57600, dataBits: 8, parity: 'odd', stopBits: 2 }],
    [0x1a, 96, { baud: 1200, dataBits: 7, parity: 'even', stopBits: 1 }],
    [0x2b, 3, { baud: 38400, dataBits: 8, parity: 'mark', stopBits: 1 }],
    [0x3b, 0, { baud: 2, dataBits: 8, parity: 'space', stopBits: 1 }],
  ])('LCR %i and divisor %i are the settings that its owner sees', (lineControl, divisor, settings) => {
    const { device, write } = make();
    write(Reg.LCR, 0x80);
    write(Reg.DATA, divisor);
    write(Reg.IER, 0);
    write(Reg.LCR, lineControl);
    expect(device.settings).toEqual(settings);
  });

  describe('sending', () => {
    it('takes a byte at once without FIFOs', () => {
      const { bench, read, write } = make();
      for (const byte of [1, 2, 3]) write(Reg.DATA, byte);
      expect([bench.sent, read(Reg.LSR)]).toEqual([[1, 2, 3], 0x60]);
    });

    it('hands over a FIFO when it is full, when the guest asks, or a moment later', () => {
      const { bench, host, read, write } = open();
      for (let i = 0; i < 16; i++) write(Reg.DATA, i);
      expect(bench.sent).toHaveLength(16);
      write(Reg.DATA, 16);
      expect([bench.sent.length, read(Reg.LSR), bench.sent.length, read(Reg.LSR)]).toEqual([16, 0, 17, 0x60]);
      write(Reg.DATA, 17);
      host.timers.advance(1);
      expect(bench.sent).toEqual(Array.from({ length: 18 }, (_, i) => i));
    });

    it('waits for the other end, keeps the FIFO, and loses only what a driver sends in spite of it', () => {
      const { bench, read, write } = open();
      bench.room = 3;
      for (let i = 0; i < 16; i++) write(Reg.DATA, i);
      expect([bench.sent, read(Reg.LSR)]).toEqual([[0, 1, 2], 0]);
      for (let i = 16; i < 20; i++) write(Reg.DATA, i);
      bench.accept(100);
      expect([bench.sent, read(Reg.LSR)]).toEqual([Array.from({ length: 19 }, (_, i) => i), 0x60]);
    });

    it('interrupts when the transmitter has become empty, once', () => {
      const { served, bench, read, write, cause } = open(Enable.EMPTY);
      expect([served.interrupts.level, cause(), cause(), served.interrupts.level]).toEqual([
        true,
        Cause.EMPTY,
        Cause.NONE,
        false,
      ]);
      bench.room = 0;
      write(Reg.DATA, 1);
      read(Reg.LSR);
      expect(served.interrupts.level).toBe(false);
      bench.accept(1);
      expect(served.interrupts.level).toBe(true);
      write(Reg.DATA, 2);
      expect(served.interrupts.level, 'it is not empty now').toBe(false);
    });

    it('interrupts each time that a driver begins to wait for an empty transmitter', () => {
      const { write, cause } = open(Enable.EMPTY);
      expect(cause()).toBe(Cause.EMPTY);
      write(Reg.IER, Enable.EMPTY);
      expect(cause(), 'it waited already').toBe(Cause.NONE);
      write(Reg.IER, 0);
      write(Reg.IER, Enable.EMPTY);
      expect(cause()).toBe(Cause.EMPTY);
    });
  });

  describe('receiving', () => {
    it('holds one byte without FIFOs, and takes the next when that is read', () => {
      const { bench, read, write, host } = make();
      write(Reg.MCR, READY);
      bench.send([1, 2]);
      expect([bench.waiting, read(Reg.LSR), read(Reg.DATA), read(Reg.LSR)]).toEqual([1, 0x61, 1, 0x60]);
      host.timers.advance(1);
      expect([bench.waiting, read(Reg.DATA), read(Reg.LSR), read(Reg.DATA)]).toEqual([0, 2, 0x60, 0]);
    });

    it('holds 16 bytes with FIFOs, and lets a driver that reads until there are none get out of its loop', () => {
      const { bench, host, handle } = open(Enable.RECEIVED);
      bench.send(Array.from({ length: 40 }, (_, i) => i));
      expect(bench.waiting).toBe(24);
      const taken = [0, 1, 2].map(() => {
        const bytes = handle();
        expect(handle(), 'until the line has rested there is nothing').toEqual([]);
        host.timers.advance(1);
        return bytes;
      });
      expect(taken.map(({ length }) => length)).toEqual([16, 16, 8]);
      expect(taken.flat()).toEqual(Array.from({ length: 40 }, (_, i) => i));
    });

    it('rests from when the FIFO is empty, so that a slow guest rests as well', () => {
      const { bench, host, read, write } = open();
      bench.send(Array.from({ length: 17 }, (_, i) => i));
      for (let i = 0; i < 16; i++) {
        host.timers.advance(5);
        write(Reg.MCR, READY); // has the device look at the line
        expect([read(Reg.LSR) & 1, read(Reg.DATA), bench.waiting]).toEqual([1, i, 1]);
      }
      expect([read(Reg.LSR) & 1, bench.waiting]).toEqual([0, 1]);
      host.timers.advance(1);
      expect([read(Reg.LSR) & 1, read(Reg.DATA)]).toEqual([1, 16]);
    });

    it('takes bytes one by one into the same FIFO', () => {
      const { bench, handle } = open();
      for (let i = 0; i < 5; i++) bench.send([i]);
      expect([bench.waiting, handle()]).toEqual([0, [0, 1, 2, 3, 4]]);
    });

    it('goes on after a reset in the middle of a rest', async () => {
      const { bench, served, read, write } = open();
      bench.send([1, 2]);
      expect([read(Reg.DATA), read(Reg.DATA)]).toEqual([1, 2]);
      bench.send([3]);
      await served.reset();
      write(Reg.MCR, READY);
      expect(read(Reg.DATA)).toBe(3);
    });

    it('lets the other end send only while RTS is asserted', () => {
      const { bench, read, write } = open();
      write(Reg.MCR, Modem.DTR);
      bench.send([7]);
      expect([read(Reg.LSR), bench.waiting]).toEqual([0x60, 1]);
      write(Reg.MCR, READY);
      expect([read(Reg.LSR), bench.waiting, read(Reg.DATA)]).toEqual([0x61, 0, 7]);
    });

    it.each([
      [0, 1],
      [1, 4],
      [2, 8],
      [3, 14],
    ])('with trigger level %i interrupts for %i bytes, for fewer as a time-out', (level, bytes) => {
      const { bench, served, read, write, cause } = open(Enable.RECEIVED);
      write(Reg.FCR, Fifo.ENABLE | (level << Fifo.TRIGGER_SHIFT));
      expect([served.interrupts.level, cause()]).toEqual([false, Cause.NONE]);
      bench.send(new Array<number>(bytes).fill(1));
      expect([served.interrupts.level, cause()]).toEqual([true, Cause.RECEIVED]);
      read(Reg.DATA);
      expect(cause()).toBe(bytes > 1 ? Cause.TIMEOUT : Cause.NONE);
      for (let i = 1; i < bytes; i++) read(Reg.DATA);
      expect([served.interrupts.level, cause()]).toEqual([false, Cause.NONE]);
    });

    it.each([
      ['the receiver', Fifo.ENABLE | Fifo.CLEAR_RECEIVER, [0x60, 0]],
      ['by switching the FIFOs off', 0, [0x60, 0]],
      ['the transmitter, not the receiver', Fifo.ENABLE | Fifo.CLEAR_TRANSMITTER, [0x61, 5]],
    ])('FCR clears %s', (_, fifoControl, expected) => {
      const { bench, read, write } = open();
      bench.send([5]);
      write(Reg.FCR, fifoControl);
      expect([read(Reg.LSR), read(Reg.DATA)]).toEqual(expected);
    });

    it('takes what waits after FCR has made room', () => {
      const { bench, host, read, write } = open();
      bench.send(Array.from({ length: 17 }, (_, i) => i));
      write(Reg.FCR, Fifo.ENABLE | Fifo.CLEAR_RECEIVER);
      host.timers.advance(1);
      expect(read(Reg.DATA)).toBe(16);
    });
  });

  describe('in loopback mode', () => {
    it('receives what it sends, and nothing else', () => {
      const { bench, read, write } = open();
      write(Reg.MCR, READY | Modem.LOOPBACK);
      bench.send([9]);
      for (const byte of [1, 2, 3]) write(Reg.DATA, byte);
      expect([read(Reg.DATA), read(Reg.DATA), read(Reg.DATA), read(Reg.LSR)]).toEqual([1, 2, 3, 0x60]);
      expect([bench.sent, bench.waiting]).toEqual([[], 1]);
      write(Reg.MCR, READY);
      expect(read(Reg.DATA)).toBe(9);
    });

    it.each([
      ['with FIFOs the last byte', true, 16, 0],
      ['without FIFOs the first byte', false, 1, 1],
    ])('loses %s when nobody reads, and says so', (_, fifos, capacity, first) => {
      const { read, write, cause } = make();
      if (fifos) write(Reg.FCR, Fifo.ENABLE);
      write(Reg.MCR, Modem.LOOPBACK);
      write(Reg.IER, Enable.LINE | Enable.RECEIVED);
      for (let i = 0; i <= capacity; i++) write(Reg.DATA, i);
      expect([cause(), read(Reg.LSR), read(Reg.LSR)]).toEqual([Cause.LINE, 0x63, 0x61]);
      expect([cause(), read(Reg.DATA)]).toEqual([Cause.RECEIVED, first]);
    });

    it.each([
      ['DTR is DSR', Modem.DTR, 0x20],
      ['RTS is CTS', Modem.RTS, 0x10],
      ['OUT1 is RI', Modem.OUT1, 0x40],
      ['OUT2 is DCD', Modem.OUT2, 0x80],
    ])('%s', (_, output, input) => {
      const { read, write } = make();
      write(Reg.MCR, Modem.LOOPBACK | output);
      expect(read(Reg.MSR) & 0xf0).toBe(input);
    });

    it('notes what changes, and interrupts for it until it is read', () => {
      const { served, read, write, cause } = make();
      write(Reg.MCR, Modem.LOOPBACK | Modem.OUT1);
      expect(read(Reg.MSR), 'CTS, DSR and DCD have gone, RI has come').toBe(0x4b);
      write(Reg.IER, Enable.MODEM);
      write(Reg.MCR, Modem.LOOPBACK);
      expect([served.interrupts.level, cause(), read(Reg.MSR), served.interrupts.level]).toEqual([
        true,
        Cause.MODEM,
        0x04,
        false,
      ]);
    });
  });

  it('names the most urgent cause first', () => {
    const { read, write, cause } = make();
    write(Reg.FCR, Fifo.ENABLE);
    write(Reg.MCR, Modem.LOOPBACK);
    write(Reg.IER, 0x0f);
    for (let i = 0; i < 17; i++) write(Reg.DATA, i);
    const causes = [cause()];
    read(Reg.LSR);
    causes.push(cause());
    for (let i = 0; i < 16; i++) read(Reg.DATA);
    causes.push(cause(), cause());
    read(Reg.MSR);
    expect([...causes, cause()]).toEqual([Cause.LINE, Cause.RECEIVED, Cause.EMPTY, Cause.MODEM, Cause.NONE]);
  });

  it('signals each new interrupt once, and INTx as long as it lasts', () => {
    const { bench, served, read } = open(Enable.RECEIVED);
    const signals = listen(served, IrqIndex.INTX);
    bench.send([1]);
    bench.send([2]);
    expect([signals(), served.interrupts.level]).toEqual([1, true]);
    read(Reg.DATA);
    served.interrupts.unmask(IrqIndex.INTX, 0, 1);
    expect(signals(), 'a byte is left').toBe(2);
    read(Reg.DATA);
    served.interrupts.unmask(IrqIndex.INTX, 0, 1);
    expect([signals(), served.interrupts.level]).toEqual([2, false]);
  });

  it('works with nobody at the other end', () => {
    const host = new FakeHost();
    const served = new Serial().bind(host);
    closing.push(host, served);
    poke(served.regions[0], Reg.DATA, 1, 1);
    expect(peek(served.regions[0], Reg.LSR, 1)).toBe(0x60n);
  });

  it('is as after power-on after a reset, and goes on with the same other end', () => {
    const { bench, served, read, write } = open(Enable.RECEIVED);
    bench.send([1, 2]);
    served.reset();
    expect([1, 2, 3, 4, 5, 6, 7].map(read)).toEqual([0, 0x01, 0, 0, 0x60, 0xb0, 0]);
    expect(served.interrupts.level).toBe(false);
    write(Reg.MCR, READY);
    bench.send([3]);
    expect(read(Reg.DATA)).toBe(3);
  });

  it('moves with bytes in both FIFOs, and no byte is lost or doubled wherever that happens', () => {
    fc.assert(
      fc.property(fc.nat({ max: 16 }), fc.nat({ max: 40 }), fc.nat({ max: 16 }), (sending, coming, room) => {
        const source = open(Enable.RECEIVED | Enable.EMPTY);
        source.bench.room = room;
        for (let i = 0; i < sending; i++) source.write(Reg.DATA, i);
        source.bench.send(Array.from({ length: coming }, (_, i) => i));
        const stream = save(source.served);

        const destination = make();
        load(destination.served, stream);
        const left = Array.from({ length: source.bench.waiting }, () => 0);
        source.bench.read(Uint8Array.from(left));
        expect([...source.bench.sent, ...destination.bench.sent]).toEqual(
          Array.from({ length: sending }, (_, i) => i),
        );
        const received = [];
        while ((destination.read(Reg.LSR) & 1) !== 0) received.push(destination.read(Reg.DATA));
        expect(received).toEqual(Array.from({ length: Math.min(coming, 16) }, (_, i) => i));
        expect(received.length + left.length).toBe(coming);
      }),
      { numRuns: 50 },
    );
  });

  it('moves its interrupt', () => {
    const source = open(Enable.RECEIVED);
    source.bench.send([1]);
    const stream = save(source.served);
    const destination = make();
    const signals = listen(destination.served, IrqIndex.INTX);
    load(destination.served, stream);
    expect([signals(), destination.cause()]).toEqual([1, Cause.TIMEOUT]);
    destination.read(Reg.DATA);
    expect(destination.served.interrupts.level).toBe(false);
  });

  it('sends and receives nothing while it is stopped', () => {
    const { bench, host, served, read, write } = open();
    bench.room = 0;
    write(Reg.DATA, 1);
    read(Reg.LSR);
    served.migration.arc(RUNNING, STOP);
    bench.send([5]);
    bench.accept(1);
    host.timers.advance(10);
    expect([bench.sent, bench.waiting]).toEqual([[], 1]);
    served.migration.arc(STOP, RUNNING);
    expect([bench.sent, bench.waiting, read(Reg.DATA)]).toEqual([[1], 0, 5]);
  });

  function save({ migration }: ReturnType<typeof make>['served']): Uint8Array {
    migration.arc(RUNNING, STOP);
    migration.arc(STOP, STOP_COPY);
    const stream = new Uint8Array(65536);
    return stream.subarray(0, migration.read(stream));
  }

  function load({ migration }: ReturnType<typeof make>['served'], stream: Uint8Array): void {
    migration.arc(RUNNING, STOP);
    migration.arc(STOP, RESUMING);
    migration.write(stream);
    migration.arc(RESUMING, STOP);
    migration.arc(STOP, RUNNING);
  }
});
