import { addressOf, Ids } from './devices.ts';
import { bindToUio } from './edu.ts';
import type { Guest } from './harness/guest.ts';
import { Load } from './harness/load.ts';

/** Devices by the names of their sockets: MSI-X, INTx with MSI-X to be had, INTx with MSI to be had. */
export const DEVICES = [
  { id: 'msix', slot: 0x10, serve: ['nvme', '--ram', '8M'] },
  { id: 'line', slot: 0x11, serve: ['nvme', '--ram', '8M'] },
  { id: 'edu', slot: 0x12, serve: ['edu'] },
] as const;

/** Verified requests to a disk with MSI-X and to one with INTx, and interrupts of edu. */
export async function startLoads(guest: Guest): Promise<readonly Load[]> {
  await guest.load('nvme');
  const line = '0000:00:11.0';
  const driver = '/sys/bus/pci/drivers/nvme';
  await guest.until(`test -e /sys/bus/pci/devices/${line}/driver`);
  const without = `echo 0 > /sys/bus/pci/devices/${line}/msi_bus`;
  await guest.run(`echo ${line} > ${driver}/unbind && ${without} && echo ${line} > ${driver}/bind`);
  const uio = await bindToUio(guest, await addressOf(guest, Ids.edu));
  const disks: Load[] = [];
  for (const address of ['0000:00:10.0', line]) disks.push(await verify(guest, address));
  const edu = await Load.start(guest, `edu ${await addressOf(guest, Ids.edu)} interrupts /dev/${uio} 20`);
  return [...disks, edu];
}

/** Writes to a disk, and looks whether what is there is what was written. */
export async function verify(guest: Guest, address: string): Promise<Load> {
  const find = `ls /sys/bus/pci/devices/${address}/nvme`;
  await guest.until(`test -b /dev/$(${find})n1`);
  return Load.start(guest, `disk /dev/$(${find})n1 $end 1 ${2 ** 20}`);
}
