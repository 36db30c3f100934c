import { describe, expect, it } from 'vitest';
import { EDU } from './harness/kernel-guest.ts';
import type { Tests } from './harness/lab.ts';

/** What is tried where devices have files of their own. */
export const iommufdTests: Tests = (guest) =>
  describe('iommufd', () => {
    it('is what a device is reached by, without being told so', async () => {
      const { status, output } = await guest().ferry('inspect', EDU);
      expect({ status, output }).toMatchObject({ status: 0 });
      expect(output).toContain('reached by its own file and iommufd');
    });
  });
