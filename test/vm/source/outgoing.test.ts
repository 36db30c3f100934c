import { describe, expect, it } from 'vitest';
import {
  awaitCompleted,
  bringVmBack,
  restoreSettings,
  startOutgoing,
  stopVm,
} from '../../../src/vm/source/outgoing.ts';
import { FakeVm } from '../fake-vm.ts';

/** A QEMU whose migration goes through these statuses, one for each time that it is asked; the last one stays. */
function sending(...statuses: readonly string[]): FakeVm {
  let asked = 0;
  let running = false;
  const status = (): string => statuses[Math.min(asked++, statuses.length - 1)] ?? 'none';
  return new FakeVm({
    'query-migrate': () => ({ status: status(), 'error-desc': 'the disk is full' }),
    'query-status': () => ({ running, status: running ? 'running' : 'paused' }),
    cont: () => {
      running = true;
    },
    'query-migrate-capabilities': [
      { capability: 'events', state: false },
      { capability: 'pause-before-switchover', state: false },
      { capability: 'xbzrle', state: true },
    ],
    'query-migrate-parameters': { 'downtime-limit': 300, 'max-bandwidth': 134217728, 'tls-creds': '' },
  });
}

describe('QEMU at the source', () => {
  it('is told never to switch by itself, and to pause before it does', () => {
    const vm = sending('active');
    const before = vm.run(startOutgoing('unix:/x'));
    expect(vm.commands.slice(-3)).toEqual([
      'migrate-set-capabilities {"capabilities":[{"capability":"pause-before-switchover","state":true},{"capability":"events","state":true}]}',
      'migrate-set-parameters {"downtime-limit":0,"max-bandwidth":1125899906842624}',
      'migrate {"uri":"unix:/x"}',
    ]);
    expect(before).toEqual({
      capabilities: [
        { capability: 'events', state: false },
        { capability: 'pause-before-switchover', state: false },
      ],
      parameters: { 'downtime-limit': 300, 'max-bandwidth': 134217728 },
    });
  });

  it('gets its settings back', () => {
    const vm = sending('none');
    vm.run(restoreSettings(vm.run(startOutgoing('unix:/x'))));
    expect(vm.commands.at(-1)).toBe(
      'migrate-set-parameters {"downtime-limit":300,"max-bandwidth":134217728}',
    );
  });

  it('stops the VM when it is told to', () => {
    const vm = sending('active', 'active', 'pre-switchover');
    vm.run(stopVm(1000));
    expect(vm.commands[0]).toBe('migrate-set-parameters {"downtime-limit":2000000,"max-bandwidth":16777216}');
    expect(vm.commands.filter((command) => command === 'query-migrate')).toHaveLength(3);
  });

  it.each([
    ['fails meanwhile', ['active', 'failed'], 'ERR_VM_MIGRATION', /failed: the disk is full/],
    ['is cancelled by somebody else', ['cancelled'], 'ERR_VM_MIGRATION', /cancelled/],
    ['does not stop', ['active'], 'ERR_VM_TIMEOUT', /did not stop the VM in 50 ms/],
  ])('that %s is not waited for', (_, statuses, code, why) => {
    expect(() => sending(...statuses).run(stopVm(50))).toThrow(expect.objectContaining({ code }));
    expect(() => sending(...statuses).run(stopVm(50))).toThrow(why);
  });

  it('is done when it says so', () => {
    sending('device', 'completed').run(awaitCompleted(1000));
    expect(() => sending('device', 'failed').run(awaitCompleted(1000))).toThrow('the disk is full');
    expect(() => sending('device').run(awaitCompleted(20))).toThrow('did not finish in 20 ms');
  });

  it.each([
    ['sends', ['active', 'cancelling', 'cancelled'], ['migrate_cancel', 'cont']],
    ['has paused', ['pre-switchover', 'cancelled'], ['migrate_cancel', 'cont']],
    ['has sent everything', ['completed'], ['cont']],
    ['has failed', ['failed'], ['cont']],
  ])('that %s has the VM run again', (_, statuses, expected) => {
    const vm = sending(...statuses);
    vm.run(bringVmBack(1000));
    expect(vm.commands.filter((command) => !command.startsWith('query'))).toEqual(expected);
  });

  it('that does not let go of its migration is said to', () => {
    expect(() => sending('active').run(bringVmBack(20))).toThrow('did not cancel');
  });

  it('that says it has the VM run, and does not, is not believed', () => {
    const vm = sending('completed');
    vm.answers.set('cont', {});
    expect(() => vm.run(bringVmBack(20))).toThrow('does not run although');
  });
});
