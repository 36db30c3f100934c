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

/**
 * Runs tests in one guest, with Debian's stable kernel (0) or that of its backports (1). Which is a file's, so that both
 * guests run at a time. What is missing is said.
 */
export function describeInKernel(which: 0 | 1, tests: Tests): void {
  const [qemu, kernels] = [findQemu(), findDriverKernels()];
  const missing = [qemu, kernels, missingTool()].find((each) => typeof each === 'string');
  const kernel = typeof kernels === 'string' ? undefined : kernels.at(which);
  if (typeof qemu === 'string' || kernel === undefined || missing !== undefined) return notTried(missing);
  describe(`devices of the kernel, Linux ${kernel.release}`, () => {
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

function notTried(missing: unknown): void {
  describe('devices of the kernel', () => {
    if (process.env['FERRY_GUEST_REQUIRED'] !== '1') return it.skip(`not tried: ${missing}`);
    it('have all that they need', () => Promise.reject(new Error(String(missing))));
  });
}
