import { describe, expect, it } from 'vitest';
import { Errno, FerryError } from '../../../src/errors/index.ts';
import { touchWrittenPages } from '../../../src/vm/source/touch.ts';
import { FakeVm } from '../fake-vm.ts';

describe('what devices have written', () => {
  it('is touched by each of them', () => {
    const vm = new FakeVm();
    vm.status = (device) => ({ pages: device + 1 });
    expect(vm.run(touchWrittenPages(['a', 'b']))).toBe(3);
    expect(vm.asked).toEqual(['TOUCH 0', 'TOUCH 1']);
    expect(vm.commands, 'interrupts that were signalled have been seen').toEqual(['query-status']);
  });

  it.each([
    [Errno.EINVAL, /not known any more/],
    [Errno.ENODEV, /bus mastering/],
    [Errno.EIO, /^the server says so$/],
  ])('is lost with errno %i, which is said', (errno, why) => {
    const vm = new FakeVm();
    vm.status = () => {
      throw new FerryError('ERR_REMOTE', 'the server says so', { errno });
    };
    expect(() => vm.run(touchWrittenPages(['a']))).toThrow(why);
  });
});
