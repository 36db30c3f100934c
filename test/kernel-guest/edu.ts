import { describe, expect, it } from 'vitest';
import { EDU_IDENTIFICATION, EduInterrupt } from '../../src/devices/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { EDU, EDU_PAIR } from './harness/kernel-guest.ts';
import type { Tests } from './harness/lab.ts';

/** What is tried in each guest: devices are reached by their group, or by their own file where there is iommufd. */
export const eduTests: Tests = (guest, { hasIommufd }) =>
  describe("QEMU's edu behind an IOMMU", () => {
    it('is driven by mapping, MSI and DMA, and reaches nothing that was taken back', async () => {
      const found = JSON.parse(await guest().node('kernel-guest/programs/edu.js', EDU));
      expect(found).toEqual({
        way: hasIommufd ? 'cdev' : 'group',
        identification: EDU_IDENTIFICATION,
        liveness: ~0x12345678 >>> 0,
        raised: 0x42,
        toDevice: EduInterrupt.DMA,
        toMemory: EduInterrupt.DMA,
        same: true,
        ended: true,
        untouched: true,
        othersUntouched: true,
        readNothing: true,
        refused: { code: 'ERR_KERNEL_ARGUMENT', errno: Errno.EINVAL },
        flags: null,
        reset: 'ERR_KERNEL_LACKS',
        // No driver says which pages were written: all of them count.
        ...(hasIommufd ? {} : { dirty: 0b11 }),
        interrupts: [
          [0, 1],
          [0, 1],
          [0, 1],
        ],
      });
      // The IOMMU has refused what was tried, and the kernel says so.
      expect(await guest().run('dmesg')).toContain('DMAR');
    });

    it('shares its memory with the other device of its group, for as long as either has mapped it', async () => {
      const ways = hasIommufd ? ['cdev', 'group'] : ['group'];
      const printed = await guest().node('kernel-guest/programs/pair.js', ways.join(), EDU, ...EDU_PAIR);
      expect(JSON.parse(printed)).toEqual(
        ways.map((way) => ({
          way,
          again: 'ERR_KERNEL_BUSY',
          byOther: true,
          byThird: true,
          stillThere: true,
          afterwards: false,
        })),
      );
    });
  });
