import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { MTTY } from './harness/kernel-guest.ts';
import type { Tests } from './harness/lab.ts';

const { EBUSY, EFAULT, EINVAL, ENODEV, ENOMEM, ENOTTY } = Errno;

/** What is tried in each guest. */
export const migrationTests: Tests = (guest, { hasIommufd }) =>
  describe('migration of mtty', () => {
    it('goes from the kernel to the kernel, to a socket, and back, by one engine', async () => {
      const { found } = JSON.parse(await guest().node('kernel-guest/programs/engine.js', ...MTTY));
      expect(found).toEqual({
        precopy: { bytes: 96, states: ['STOP', 'RUNNING'], registers: [0x1b, 0xa1] },
        stopped: { bytes: 96, states: ['STOP', 'RUNNING'], registers: [0x1b, 0xb2] },
        toSocket: { bytes: 96, states: ['STOP', 'RUNNING'], registers: [0x1b, 0xc3] },
        fromSocket: { bytes: 96, states: ['STOP', 'RUNNING'], registers: [0x1b, 0xd4] },
      });
    });

    it('has a log of DMA where the kernel can report it; all memory counts as written where it can not', async () => {
      const found = JSON.parse(await guest().node('kernel-guest/programs/logging.js', MTTY[0]));
      // mtty takes the calls, and writes nothing.
      expect(found).toEqual({ pageSize: 4096, pages: hasIommufd ? 0 : 0xff });
    });

    it('tells what goes wrong by typed errors, with the state that was reached', async () => {
      const found = JSON.parse(await guest().node('kernel-guest/programs/errors.js', ...MTTY));
      const refused = (reached: string) => ({
        code: 'ERR_STATE_CHANGE',
        errno: EINVAL,
        reached,
        state: reached,
      });
      const failed = (code: string, errno: number, state: string) => ({ code, errno, state });
      const broken = (code: string, errno: number, state: string) => ({ code, errno, state, reached: state });
      expect(found).toMatchObject({
        'another process or another opening': failed('ERR_KERNEL_BUSY', EBUSY, 'RUNNING'),
        'a device that there is not': failed('ERR_KERNEL_NO_DEVICE', ENODEV, 'RUNNING'),
        'to ERROR': refused('RUNNING'),
        'to a state that there is not': refused('RUNNING'),
        'from STOP_COPY to PRE_COPY': refused('STOP_COPY'),
        'write while saving': broken('ERR_KERNEL_ARGUMENT', EINVAL, 'STOP_COPY'),
        'read after a reset': broken('ERR_KERNEL_ARGUMENT', EINVAL, 'RUNNING'),
        'read while resuming': broken('ERR_KERNEL_ARGUMENT', EINVAL, 'RESUMING'),
        'to STOP, incomplete': refused('RESUMING'),
        'to RUNNING, incomplete': refused('RESUMING'),
        'write after a reset': broken('ERR_KERNEL_ARGUMENT', EINVAL, 'RUNNING'),
        'a header that is none': broken('ERR_KERNEL', EFAULT, 'RESUMING'),
        'more than there can be': broken('ERR_KERNEL', ENOMEM, 'RESUMING'),
        'left over': { code: 'ERR_KERNEL_LEFT_OVER' },
        'after it': 'RUNNING',
        'registers that there are not': { code: 'ERR_KERNEL_ARGUMENT', errno: EINVAL },
        'a region that can not be mapped': { code: 'ERR_KERNEL_LACKS', errno: ENOTTY },
        interrupts: [[0, 1]],
        'MSI-X': { code: 'ERR_KERNEL_LACKS', errno: ENOTTY },
      });
    });
  });
