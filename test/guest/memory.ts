import { crc32 } from 'node:zlib';
import { expect, it } from 'vitest';
import { addressOf, type Devices, Ids } from './devices.ts';
import type { Guest } from './harness/guest.ts';

const LENGTH = 2 ** 20;

/** What the memory device does in any guest. */
export function memoryTests(guest: () => Guest, devices: () => Devices): void {
  const memory = async (what: string): Promise<string> =>
    guest().run(`memory ${await addressOf(guest(), Ids.memory)} ${what}`);

  it('memory is shared with the guest, which maps it', async () => {
    const { bytes } = devices().memory.state.memory;
    const filled = Number(await memory(`fill 7 ${LENGTH}`));
    expect(crc32(bytes.subarray(0, LENGTH))).toBe(filled);
    bytes.fill(0x5a, LENGTH / 2, LENGTH);
    expect(Number(await memory(`crc ${LENGTH}`))).toBe(crc32(bytes.subarray(0, LENGTH)));
  });

  it('memory reads 2 MiB of the guest', async () => {
    await guest().run('echo 2 > /proc/sys/vm/nr_hugepages');
    await memory('checksum 1');
    await memory('checksum 2');
  });

  it('memory sends each message of MSI-X once, and what is masked when it is unmasked', async () => {
    await memory('msix');
  });
}
