import { describe, expect, it } from 'vitest';
import { planLines, quietenRunning, quietenStopped } from '../../../src/vm/source/interrupt-lines.ts';
import { FakeVm } from '../fake-vm.ts';
import { configSpace } from '../pci-bytes.ts';

const BAR = 0xfe00_0000n;

/** A device by INTx with a memory BAR or with I/O alone, whose line is asserted until it has been asked so often. */
function asserted(bars: Readonly<Record<number, number>>, times: number): FakeVm {
  const vm = new FakeVm({ 'query-status': { running: false } });
  vm.configuration = configSpace({ command: 3, bars });
  vm.memory.set(BAR, new Uint8Array(16));
  let left = times;
  vm.status = (_, { do: what }) => {
    if (what === 'QUERY' && left > 0) left -= 1;
    return { intx: true, outstanding: left > 0 };
  };
  return vm;
}

describe('an interrupt line that is asserted when the VM stops', () => {
  it('is cleared by a read of a memory BAR, which the device does not see', () => {
    const vm = asserted({ 0: Number(BAR) }, 4);
    const plans = vm.run(planLines(['edu']));
    vm.run(quietenRunning(plans));
    expect(vm.asked).toEqual(['QUERY 0']);
    vm.run(quietenStopped(plans));
    expect(vm.asked.slice(0, 2)).toEqual(['QUERY 0', 'SHIELD 0']);
    expect(vm.commands).toEqual(['query-status']);
  });

  it('is not read for when it is not asserted', () => {
    const vm = asserted({ 0: Number(BAR) }, 0);
    vm.memory.clear();
    vm.run(quietenStopped(vm.run(planLines(['edu']))));
    expect(vm.asked).toEqual(['QUERY 0', 'SHIELD 0']);
  });

  it('ends the migration when nothing clears it', () => {
    const vm = asserted({ 0: Number(BAR) }, 100_000);
    const plans = vm.run(planLines(['edu']));
    expect(() => vm.run(quietenStopped(plans))).toThrow(expect.objectContaining({ code: 'ERR_VM_INTX' }));
  });
});

describe('an interrupt line of a device with I/O ports alone', () => {
  it('is served by the guest while it runs, and none follows', () => {
    const vm = asserted({ 2: 0xc001 }, 5);
    const plans = vm.run(planLines(['gpio']));
    vm.run(quietenRunning(plans));
    expect(vm.asked.slice(0, 2)).toEqual(['QUERY 0', 'WITHHOLD 0']);
    vm.run(quietenStopped(plans));
    expect(vm.commands).toEqual([]);
  });

  it('is read for when the guest has not served it in time, or has stopped by itself', () => {
    const vm = asserted({ 2: 0xc001 }, 100_000);
    vm.answers.set('human-monitor-command', () => {
      vm.status = () => ({ intx: true, outstanding: false });
    });
    const plans = vm.run(planLines(['gpio']));
    vm.run(quietenRunning(plans));
    vm.run(quietenStopped(plans));
    expect(vm.asked).toContain('SHIELD 0');
    expect(vm.commands.at(-1)).toBe('human-monitor-command {"command-line":"i /b 49152"}');
  });

  it('ends the migration when nothing clears it, also where nothing can be read', () => {
    for (const bars of [{ 2: 0xc001 }, {}]) {
      const vm = asserted(bars, 100_000);
      const plans = vm.run(planLines(['gpio']));
      expect(() => vm.run(quietenStopped(plans))).toThrow(/gpio is asserted.*Try again/);
    }
  });
});

it('a device that interrupts by message has no line', () => {
  const vm = new FakeVm();
  expect(vm.run(planLines(['nvme']))).toEqual([]);
});
