import { describe, expect, it } from 'vitest';
import { judgeUpgrade } from '../../../src/vm/upgrade/judge.ts';
import { VmError } from '../../../src/vm/vm-error.ts';
import { FakeVm } from '../fake-vm.ts';
import { configSpace } from '../pci-bytes.ts';

const MSIX = { control: 1, table: 0, pba: 0x800 };

/** A VM of one device, whose QEMU can hand its memory over, but for what a test changes. */
function machine(changes: Readonly<Record<string, unknown>> = {}): FakeVm {
  const vm = new FakeVm({ 'qom-get': true, ...changes });
  vm.configuration = configSpace({ command: 6, msix: MSIX });
  return vm;
}

const kept = {
  ...{ sinceMs: 0, returned: false, withheldResets: 1 },
  configuration: configSpace({ msix: MSIX }),
};

describe('a VM that can pass to another QEMU', () => {
  it('runs, and its servers have nothing that waits', () => {
    const vm = machine();
    expect(vm.run(judgeUpgrade(['d0'], 'running'))).toEqual({
      ...{ kept: [null], policies: ['reset'], reasons: [] },
    });
    expect(vm.asked).toEqual([]);
  });

  it('or stands still, and a QEMU was cut off from its devices', () => {
    const vm = machine();
    vm.kept = () => ({ policy: 'keep', kept });
    const view = vm.run(judgeUpgrade(['d0'], 'paused'));
    expect(view).toEqual({ kept: [kept.configuration], policies: ['keep'], reasons: [] });
  });
});

describe('a VM that can not', () => {
  it.each([
    ['has memory of its own', { 'qom-get': false }, /aux-ram-share=on/],
    [
      'is of an older QEMU',
      { 'qom-get': new VmError('ERR_VM_COMMAND', 'no such property') },
      /10.0 is the first/,
    ],
  ])('%s', (_, changes, why) => {
    expect(machine(changes).run(judgeUpgrade(['d0'], 'running')).reasons).toEqual([
      expect.stringMatching(why),
    ]);
  });

  it('stands still', () => {
    expect(machine().run(judgeUpgrade(['d0'], 'paused')).reasons).toEqual([
      expect.stringMatching(/has to run/),
    ]);
  });

  it('runs without a device', () => {
    const vm = machine();
    vm.kept = () => ({ kept });
    expect(vm.run(judgeUpgrade(['d0'], 'running')).reasons).toEqual([
      expect.stringMatching(/waits for another/),
    ]);
  });

  it('has a device with INTx alone', () => {
    const vm = machine();
    vm.configuration = configSpace({ command: 6 });
    expect(vm.run(judgeUpgrade(['d0'], 'running')).reasons).toEqual([
      expect.stringMatching(/d0 interrupts by INTx/),
    ]);
  });
});
