import { describe, expect, it } from 'vitest';
import { EDU_IDENTIFICATION } from '../../src/devices/index.ts';
import { findQemu } from '../guest/harness/qemu.ts';
import { EDU, MTTY } from './harness/kernel-guest.ts';
import type { Tests } from './harness/lab.ts';

/** A QEMU inside of the guest uses devices of its kernel. */
export const bridgeTests: Tests = (guest) =>
  describe('the bridge', () => {
    it('gives a QEMU registers, INTx, MSI and DMA of the kernel, and another device underneath', async () => {
      const qemu = findQemu();
      if (typeof qemu === 'string') throw new Error(qemu);
      const printed = await guest().node(
        'kernel-guest/programs/bridge.js',
        JSON.stringify(qemu.command),
        EDU,
        ...MTTY,
      );
      const found = JSON.parse(printed.split('\n').at(-1) ?? '');
      expect(found).toMatchObject({
        ids: [0x32534348, 0x11e81234],
        identification: EDU_IDENTIFICATION,
        liveness: ~0x12345678 >>> 0,
        dma: true,
        msi: true,
        scratch: 0xa5,
        interrupt: true,
        maps: true,
        swap: 96,
        scratchAfter: 0xa5,
        interruptAfter: true,
      });
    });
  });

/** A client maps a BAR of a device that is served so. */
export const mappedBarTests: Tests = (guest) =>
  describe('the bridge with --map-bars', () => {
    it('lends BARs to a client that may map them, and then has the device replaced by nobody', async () => {
      const found = JSON.parse(await guest().node('kernel-guest/programs/map-bars.js', EDU));
      expect(found).toEqual({
        identification: EDU_IDENTIFICATION,
        liveness: ~0x12345678 >>> 0,
        signals: [0],
        health: [expect.stringContaining('the device does not reach 0xfee00000-0xfee00fff')],
        takeOver: { status: 2, output: expect.stringContaining('the kernel gives it to one process') },
        mappable: true,
        swap: { status: 1, output: expect.stringContaining('--mmap') },
      });
    });
  });
