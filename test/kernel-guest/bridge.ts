import { describe, expect, it } from 'vitest';
import { EDU_IDENTIFICATION } from '../../src/devices/index.ts';
import { findQemu } from '../guest/harness/qemu.ts';
import { EDU, MTTY } from './harness/kernel-guest.ts';
import type { Tests } from './harness/lab.ts';

/** A QEMU inside of the guest uses devices of its kernel. */
export const bridgeTests: Tests = (guest) =>
  describe('the bridge', () => {
    it('gives a QEMU registers, interrupts and DMA of the kernel, and another device underneath', async () => {
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
        scratch: 0xa5,
        interrupt: true,
        maps: true,
        swap: 96,
        scratchAfter: 0xa5,
        interruptAfter: true,
      });
    });
  });
