import { expect, it } from 'vitest';
import { addressOf, Ids } from './devices.ts';
import { describeInGuests } from './harness/lab.ts';
import { machineTests } from './machine.ts';

describeInGuests('q35 with its memory given as fds', (lab) =>
  machineTests(lab, 'q35', ({ guest, devices }) => {
    it('resets a device behind a port', async () => {
      const { edu } = devices();
      const address = await addressOf(guest(), Ids.edu);
      await guest().run(`edu ${address} liveness 1`);
      expect(edu.state.liveness).toBe(0xfffffffe);
      await guest().run(`echo 1 > /sys/bus/pci/devices/${address}/reset`);
      expect(edu.state.liveness).toBe(0);
      await guest().run(`edu ${address} registers`);
    });
  }),
);
