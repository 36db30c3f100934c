import { afterEach, describe, expect, it } from 'vitest';
import { Gpio, GpioInterrupt, type GpioOptions, GpioRegister as Reg } from '../../src/devices/index.ts';
import { IrqIndex, RegionIndex } from '../../src/protocol/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { FakeHost, listen, peek, poke } from '../helpers/fake-host.ts';

const { RUNNING, STOP, STOP_COPY, RESUMING } = MigrationState;

describe('gpio', () => {
  const closing: { close(): void }[] = [];
  afterEach(() => {
    for (const one of closing.splice(0).reverse()) one.close();
  });

  function make(options?: GpioOptions) {
    const host = new FakeHost();
    const device = new Gpio(options);
    const served = device.bind(host);
    closing.push(host, served);
    const bar = served.regions[2];
    return {
      device,
      served,
      read: (offset: number) => Number(peek(bar, offset, 1)),
      write: (offset: number, value: number) => poke(bar, offset, value, 1),
    };
  }

  it('is what gpio-pci-idio-16 looks for, with its registers in 8 bytes of I/O space', () => {
    const { served } = make();
    const config = served.regions[RegionIndex.CONFIG];
    expect(peek(config, 0)).toBe(0x0dc8494fn);
    poke(config, 0x18, 0xffffffff);
    expect(peek(config, 0x18)).toBe(0xfffffff9n);
    expect(served.interrupts.info(IrqIndex.INTX).count).toBe(1);
  });

  it('drives its outputs by two registers and shows each change once', () => {
    const shown: number[] = [];
    const { device, read, write } = make({ onOutputs: (outputs) => shown.push(outputs) });
    write(Reg.OUTPUTS_LOW, 0xa5);
    write(Reg.OUTPUTS_HIGH, 0x81);
    write(Reg.OUTPUTS_HIGH, 0x81);
    write(Reg.OUTPUTS_LOW, 0);
    expect([device.outputs, read(Reg.OUTPUTS_LOW), read(Reg.OUTPUTS_HIGH)]).toEqual([0x8100, 0, 0x81]);
    expect(shown).toEqual([0xa5, 0x81a5, 0x8100]);
  });

  it('reads its inputs, which the guest can not write', () => {
    const { device, read, write } = make();
    device.inputs = 0x1_8001;
    write(Reg.INPUTS_LOW, 0xff);
    write(Reg.INPUTS_HIGH, 0xff);
    expect([device.inputs, read(Reg.INPUTS_LOW), read(Reg.INPUTS_HIGH)]).toEqual([0x8001, 1, 0x80]);
    device.setInput(0, false);
    device.setInput(9, true);
    expect([device.inputs, read(Reg.INPUTS_LOW), read(Reg.INPUTS_HIGH)]).toEqual([0x8200, 0, 0x82]);
  });

  it.each([-1, 16, 1.5, Number.NaN])('has no input %s', (line) => {
    expect(() => make().device.setInput(line, true)).toThrow(RangeError);
  });

  it.each([
    ['one of the lower inputs', 0x0010, GpioInterrupt.INPUTS_LOW],
    ['one of the upper inputs', 0x0100, GpioInterrupt.INPUTS_HIGH],
    ['some of both', 0x8001, GpioInterrupt.INPUTS_LOW | GpioInterrupt.INPUTS_HIGH],
  ])('interrupts when %s changed, until the guest clears it', (_, inputs, which) => {
    const { device, served, read, write } = make();
    const signals = listen(served, IrqIndex.INTX);
    read(Reg.INTERRUPT_CONTROL);
    device.inputs = inputs;
    expect([read(Reg.INTERRUPT_STATUS), signals(), served.interrupts.level]).toEqual([
      which | GpioInterrupt.ASSERTED,
      1,
      true,
    ]);
    write(Reg.INPUTS_LOW, 0);
    expect([read(Reg.INTERRUPT_STATUS), served.interrupts.level]).toEqual([0, false]);
    device.inputs = inputs;
    expect(served.interrupts.level, 'nothing has changed').toBe(false);
    device.inputs = 0;
    expect(served.interrupts.level, 'the other edge counts as well').toBe(true);
  });

  it('is silent unless the interrupt is enabled, which a read does and a write undoes', () => {
    const { device, served, read, write } = make();
    device.inputs = 1;
    expect([read(Reg.INTERRUPT_STATUS), served.interrupts.level]).toEqual([0, false]);
    read(Reg.INTERRUPT_CONTROL);
    expect(served.interrupts.level, 'what was before does not count').toBe(false);
    device.inputs = 2;
    write(Reg.INTERRUPT_CONTROL, 0);
    expect([read(Reg.INTERRUPT_STATUS), served.interrupts.level]).toEqual([0, false]);
    device.inputs = 3;
    expect(served.interrupts.level).toBe(false);
  });

  it('takes inputs before it is served', () => {
    const host = new FakeHost();
    const device = new Gpio();
    device.inputs = 0x1234;
    const served = device.bind(host);
    closing.push(host, served);
    expect(peek(served.regions[2], Reg.INPUTS_HIGH, 1)).toBe(0x12n);
  });

  it('clears its outputs on reset; its inputs are not its own', () => {
    const shown: number[] = [];
    const { device, served, read, write } = make({ onOutputs: (outputs) => shown.push(outputs) });
    write(Reg.OUTPUTS_LOW, 1);
    read(Reg.INTERRUPT_CONTROL);
    device.inputs = 0xff00;
    served.reset();
    expect([read(Reg.OUTPUTS_LOW), read(Reg.INPUTS_HIGH), read(Reg.INTERRUPT_STATUS)]).toEqual([0, 0xff, 0]);
    expect(served.interrupts.level).toBe(false);
    expect(shown).toEqual([1, 0]);
    device.inputs = 0;
    expect(served.interrupts.level, 'interrupts are disabled again').toBe(false);
  });

  it('moves with its outputs, its inputs and its interrupt', () => {
    const source = make();
    source.read(Reg.INTERRUPT_CONTROL);
    source.write(Reg.OUTPUTS_HIGH, 0x40);
    source.device.inputs = 0x0180;
    const { migration } = source.served;
    migration.arc(RUNNING, STOP);
    source.device.inputs = 0xffff;
    migration.arc(STOP, STOP_COPY);
    const stream = new Uint8Array(65536);
    const length = migration.read(stream);

    const shown: number[] = [];
    const destination = make({ onOutputs: (outputs) => shown.push(outputs) });
    const signals = listen(destination.served, IrqIndex.INTX);
    destination.served.migration.arc(RUNNING, STOP);
    destination.served.migration.arc(STOP, RESUMING);
    destination.served.migration.write(stream.subarray(0, length));
    destination.served.migration.arc(RESUMING, STOP);
    destination.served.migration.arc(STOP, RUNNING);
    expect([destination.device.outputs, destination.device.inputs, shown]).toEqual([
      0x4000,
      0x0180,
      [0x4000],
    ]);
    expect([destination.read(Reg.INTERRUPT_STATUS), signals()]).toEqual([7, 1]);

    migration.arc(STOP_COPY, STOP);
    migration.arc(STOP, RUNNING);
    expect(source.read(Reg.INPUTS_LOW), 'the source runs on with what came meanwhile').toBe(0xff);
  });
});
