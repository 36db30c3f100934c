import { describe, expect, it } from 'vitest';
import { awaitLoaded, runVm, startIncoming } from '../../../src/vm/destination/incoming.ts';
import { FakeVm } from '../fake-vm.ts';

const waiting = (migration: object, status: object) =>
  new FakeVm({ 'query-migrate': migration, 'query-status': status });

describe('QEMU at the destination', () => {
  it('waits, is told not to run by itself, and not to end at an error', () => {
    const vm = new FakeVm();
    vm.run(startIncoming('/x'));
    expect(vm.commands[0]).toBe('stop');
    expect(vm.commands.at(-1)).toBe('migrate-incoming {"uri":"unix:/x","exit-on-error":false}');
  });

  it('is ready when the VM is there and stopped', () => {
    waiting({ status: 'completed' }, { status: 'paused', running: false }).run(awaitLoaded(100));
  });

  it.each([
    [
      'fails',
      { status: 'failed', 'error-desc': 'bad section' },
      { status: 'inmigrate' },
      /could not take the VM: bad section/,
    ],
    [
      'has it run already',
      { status: 'completed' },
      { status: 'running', running: true },
      /before it was told to/,
    ],
    [
      'does not come to an end',
      { status: 'active' },
      { status: 'inmigrate' },
      /did not load the VM in 10 ms/,
    ],
    [
      'is not out of its wait',
      { status: 'completed' },
      { status: 'inmigrate' },
      /did not load the VM in 10 ms/,
    ],
  ])('that %s is not believed', (_, migration, status, why) => {
    expect(() => waiting(migration, status).run(awaitLoaded(10))).toThrow(why);
  });

  it('has the VM run, also when that is said again', () => {
    let running = false;
    const vm = new FakeVm({
      'query-status': () => ({ running }),
      cont: () => {
        running = true;
      },
    });
    vm.run(runVm());
    vm.run(runVm());
    expect(running).toBe(true);
  });
});
