import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { missingTool } from '../../guest/harness/programs.ts';
import { findQemu } from '../../guest/harness/qemu.ts';
import { buildInitramfs } from './initramfs.ts';
import { KernelGuest } from './kernel-guest.ts';
import { type DriverKernel, findDriverKernels, withIommufd } from './kernels.ts';

/** Gives the guest of a file's tests. */
export type GuestOf = () => KernelGuest;

/** Tests that share a guest. */
export type Tests = (guest: GuestOf, kernel: DriverKernel) => void;

/** Debian's stable kernel, that of its backports, and the latter with VFIO built with iommufd. */
export type Which = 'stable' | 'backports' | 'iommufd';

/** Runs tests in one guest. Which is a file's, so that guests run at a time. What is missing is said. */
export function describeInKernel(which: Which, tests: Tests): void {
  const [qemu, kernel] = [findQemu(), kernelFor(which)];
  const missing = [qemu, kernel, missingTool()].find((each) => typeof each === 'string');
  if (typeof qemu === 'string' || typeof kernel === 'string' || missing !== undefined)
    return notTried(missing);
  describe(`devices of the kernel, Linux ${kernel.release}${which === 'iommufd' ? ' with iommufd' : ''}`, () => {
    let guest: KernelGuest | null = null;
    let folder = '';
    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'ferry-kernel-'));
      guest = await KernelGuest.boot(qemu, kernel, buildInitramfs(kernel, folder));
    });
    afterAll(async () => {
      await guest?.close();
      rmSync(folder, { recursive: true, force: true });
    });
    tests(() => {
      if (guest === null) throw new Error('the guest has not started');
      return guest;
    }, kernel);
  });
}

function kernelFor(which: Which): DriverKernel | string {
  const kernels = findDriverKernels();
  if (typeof kernels === 'string') return kernels;
  const kernel = kernels.at(which === 'stable' ? 0 : 1);
  if (kernel === undefined) return 'there are no two versions of Linux';
  return which === 'iommufd' ? withIommufd(kernel) : kernel;
}

function notTried(missing: unknown): void {
  describe('devices of the kernel', () => {
    if (process.env['FERRY_GUEST_REQUIRED'] !== '1') return it.skip(`not tried: ${missing}`);
    it('have all that they need', () => Promise.reject(new Error(String(missing))));
  });
}
