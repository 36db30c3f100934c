import { Errno, FerryError } from '../../errors/index.ts';
import { qmp, switchoverAll, type VmSequence } from '../step.ts';
import { both } from '../together.ts';
import { VmError } from '../vm-error.ts';

/**
 * QEMU does not know which pages a device has written by mapped memory. Each is written once more, by message, which QEMU
 * logs. The devices have stopped, and so has the guest. Besides one round trip is made through QEMU's main loop: an eventfd
 * that a device has signalled before has been seen then. Returns how many pages were touched.
 */
export function* touchWrittenPages(ids: readonly string[]): VmSequence<number> {
  try {
    const requests = ids.map((_, device) => ({ device, request: { do: 'TOUCH' } }) as const);
    const [statuses] = yield* both(switchoverAll(requests), qmp('query-status'));
    return statuses.reduce((sum, { pages }) => sum + pages, 0);
  } catch (error) {
    throw whyNot(error);
  }
}

function whyNot(error: unknown): unknown {
  if (!(error instanceof FerryError)) return error;
  if (error.errno === Errno.EINVAL) {
    const why = 'the guest or somebody else has reset it meanwhile';
    return new VmError(
      'ERR_VM_REFUSED',
      `what a device has written is not known any more: ${why}. Try again`,
      {},
      error,
    );
  }
  if (error.errno !== Errno.ENODEV) return error;
  const text =
    'a device has written to memory, and the guest has taken bus mastering from it since: try again';
  return new VmError('ERR_VM_REFUSED', text, {}, error);
}
