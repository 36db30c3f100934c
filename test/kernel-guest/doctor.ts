import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { EDU, EDU_PAIR, type KernelGuest, MTTY } from './harness/kernel-guest.ts';
import type { Tests } from './harness/lab.ts';

const NOT_SUPPORTED = 'VFIO migration is not supported in kernel';

interface Diagnosis {
  readonly findings: readonly { readonly id: string; readonly finding: string; readonly why: string }[];
  readonly migratable: boolean;
}

/** What the command says of a device, by the stable names of its findings. */
async function diagnose(guest: KernelGuest, device: string) {
  const { output, status } = await guest.ferry('doctor', device, '--json');
  const { findings, migratable }: Diagnosis = JSON.parse(output);
  expect(status).toBe(migratable ? 0 : 1);
  return { found: new Map(findings.map((each) => [each.id, each])), migratable };
}

/** Why a device of the kernel can't be migrated, told in a kernel where it can't. */
export const doctorTests: Tests = (guest, kernel) =>
  describe('ferry doctor', () => {
    beforeAll(async () => {
      // Where the command looks for how the kernel was built.
      const config = `/host${join(kernel.image, '../config')}`;
      await guest().run(`mount -t tmpfs boot /host/boot && cp ${config} /host/boot/config-${kernel.release}`);
    });

    it('names why QEMU will say that the kernel does not support it, of a device that vfio-pci has', async () => {
      const { found, migratable } = await diagnose(guest(), EDU);
      expect(migratable).toBe(false);
      const { finding, why } = found.get('migration-not-offered') ?? {};
      expect(finding).toBe(`vfio-pci offers no migration for ${EDU}`);
      expect(why).toContain(NOT_SUPPORTED);
      expect(found.get('no-iommufd')?.finding).toContain('built without CONFIG_IOMMUFD');
      expect(found.get('no-dirty-tracking')?.finding).toContain('CONFIG_IOMMUFD_DRIVER');
    });

    it('lets a mediated device pass whose driver migrates, and leaves it as it is', async () => {
      const { found, migratable } = await diagnose(guest(), MTTY[1]);
      expect([...found.keys()]).not.toContain('migration-not-offered');
      expect(migratable).toBe(true);
    });

    it('says that a device has no driver, and how it gets one', async () => {
      const [device] = EDU_PAIR;
      await guest().run(`echo ${device} > /sys/bus/pci/drivers/vfio-pci/unbind`);
      const { found, migratable } = await diagnose(guest(), device);
      expect(found.get('not-bound-to-vfio')?.finding).toBe(`${device} has no driver`);
      // It could not be asked: its identity alone tells that none of Linux's drivers would migrate it.
      expect(found.get('no-driver-exists')?.why).toContain(NOT_SUPPORTED);
      expect(migratable).toBe(false);
      await guest().run(`echo ${device} > /sys/bus/pci/drivers/vfio-pci/bind`);
    });

    it('names a module that is missing', async () => {
      await guest().run('rmmod vfio_iommu_type1');
      const { found, migratable } = await diagnose(guest(), EDU);
      await guest().run('insmod /modules/vfio_iommu_type1.ko');
      expect(found.get('iommu-type1-not-loaded')?.finding).toContain('vfio_iommu_type1');
      expect(migratable).toBe(false);
    });
  });
