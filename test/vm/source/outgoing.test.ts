import { describe, expect, it } from 'vitest';
import {
  awaitCompleted,
  bringVmBack,
  finishOutgoing,
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

  it('stops the VM at once, and may switch then', () => {
    const vm = sending('active');
    vm.run(stopVm());
    expect(vm.commands).toEqual(['stop', 'migrate-set-parameters {"downtime-limit":2000000}']);
  });

  /** QEMU refuses to go on as long as it does not pause before its switch. */
  function refusing(times: number, ...statuses: readonly string[]): FakeVm {
    const vm = sending(...statuses);
    let left = times;
    vm.answers.set('migrate-continue', () => {
      left -= 1;
      return left < 0 ? {} : new Error(`refused, and ${left} times more`);
    });
    return vm;
  }
  const continues = (vm: FakeVm): number =>
    vm.commands.filter((command) => command.startsWith('migrate-continue')).length;

  it('goes on at once when it has paused, and is not asked before', () => {
    const vm = refusing(0, 'pre-switchover');
    vm.run(finishOutgoing(1000));
    expect(vm.commands).toEqual(['migrate-continue {"state":"pre-switchover"}']);
  });

  it.each([
    ['when it has sent what is left', 2, ['active', 'active'], 3],
    ['when it has just paused', 1, ['pre-switchover'], 2],
  ])('goes on %s', (_, refusals, statuses, times) => {
    const vm = refusing(refusals, ...statuses);
    vm.run(finishOutgoing(1000));
    expect(continues(vm)).toBe(times);
  });

  it.each([
    ['fails meanwhile', ['active', 'failed'], /failed: the disk is full/],
    ['is cancelled by somebody else', ['cancelled'], /cancelled/],
    ['never pauses', ['active'], /was not ready to switch in 50 ms/],
    ['has paused and refuses', ['pre-switchover'], /refused/],
    ['is beyond that', ['device'], /refused/],
  ])('that %s is not waited for', (_, statuses, why) => {
    expect(() => refusing(1000, ...statuses).run(finishOutgoing(50))).toThrow(why);
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
