import { expect, it } from 'vitest';
import { Edu } from '../../src/devices/index.ts';
import { addressOf, EDU_SLOT, Ids } from './devices.ts';
import { bindToUio } from './edu.ts';
import { inSlot, vfioUserDevice } from './harness/guest.ts';
import { describeInGuests } from './harness/lab.ts';
import { machineTests } from './machine.ts';

describeInGuests('pc with its memory to itself', (lab) =>
  machineTests(lab, 'pc', ({ guest, devices }) => {
    it('survives a server that ends, and takes the device back when a new one serves it', async () => {
      const { edu } = devices().served;
      const address = await addressOf(guest(), Ids.edu);
      await bindToUio(guest(), address);
      await guest().run(`edu ${address} liveness 1`);
      edu.close();
      expect(await guest().run(`edu ${address} liveness`), 'nobody answers').toBe('0xffffffff');

      const qmp = await guest().qmp();
      await qmp.execute('device_del', { id: 'edu' });
      await qmp.event('DEVICE_DELETED');
      const again = lab.serve('edu', new Edu());
      await qmp.execute('device_add', vfioUserDevice(again.socketPath, { id: 'again', ...inSlot(EDU_SLOT) }));
      await guest().until(`test -e /sys/bus/pci/devices/${address}/uio`);

      expect(await guest().run(`edu ${address} liveness`)).toBe('0x00000000');
      await guest().run(`edu ${address} registers && edu ${address} dma 3`);
      const uio = await guest().run(`ls /sys/bus/pci/devices/${address}/uio`);
      await guest().run(`edu ${address} interrupts /dev/${uio} 3`);
      expect(again.reported).toEqual([]);
    });
  }),
);
