import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { missingTool } from '../../guest/harness/programs.ts';
import { findQemu } from '../../guest/harness/qemu.ts';
import { buildInitramfs } from './initramfs.ts';
import { KernelGuest } from './kernel-guest.ts';
import { type DriverKernel, findDriverKernels } from './kernels.ts';

/** Gives the guest of a file's tests. */
export type GuestOf = () => KernelGuest;

/** Tests that share a guest. */
export type Tests = (guest: GuestOf, kernel: DriverKernel) => void;

/** Runs tests once in a guest of each version of Linux, which all tests share. What is missing is said. */
export function describeInKernels(what: string, tests: Tests): void {
  const [qemu, kernels] = [findQemu(), findDriverKernels()];
  const missing = [qemu, kernels, missingTool()].find((each) => typeof each === 'string');
  if (typeof qemu === 'string' || typeof kernels === 'string' || missing !== undefined) {
    describe(what, () => {
      if (process.env['FERRY_GUEST_REQUIRED'] !== '1') return it.skip(`not tried: ${missing}`);
      it('has all that it needs', () => Promise.reject(new Error(String(missing))));
    });
    return;
  }
  describe.each(kernels)(`${what}, Linux $release`, (kernel) => {
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
