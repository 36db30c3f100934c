import { expect, it } from 'vitest';
import { addressOf, driverOf, Ids } from './devices.ts';
import type { Guest } from './harness/guest.ts';

/** What edu does in any guest. */
export function eduTests(guest: () => Guest): void {
  const edu = async (what: string): Promise<string> =>
    guest().run(`edu ${await addressOf(guest(), Ids.edu)} ${what}`);

  it('edu answers its registers at each width, and computes', async () => {
    await edu('registers');
  });

  it('edu reads and writes the memory of the guest', async () => {
    await edu('dma 20');
  });

  it('edu interrupts by INTx, as uio_pci_generic takes it', async () => {
    const uio = await bindToUio(guest(), await addressOf(guest(), Ids.edu));
    await edu(`interrupts /dev/${uio} 50`);
  });
}

/** Gives edu to a driver that counts its interrupts; returns the name of its device file. */
export async function bindToUio(guest: Guest, address: string): Promise<string> {
  await guest.load('uio_pci_generic');
  await guest.attempt(`echo ${Ids.edu.replace(':', ' ')} > /sys/bus/pci/drivers/uio_pci_generic/new_id`);
  expect(await driverOf(guest, address)).toBe('uio_pci_generic');
  return guest.run(`ls /sys/bus/pci/devices/${address}/uio`);
}
