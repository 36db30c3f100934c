// Opens two devices of one IOMMU group in one process, and one of another group beside them, in each of the ways that are
// named: what is mapped for one of them all reach. Run with the ways and the addresses of edu; prints what was found, as JSON.
import { setTimeout as sleep } from 'node:timers/promises';
import { GuestMemory } from '../../../dist/client/index.js';
import { EDU_BUFFER, EduDmaCommand, EduRegister } from '../../../dist/devices/index.js';
import { KernelDevice } from '../../../dist/kernel/index.js';

const [BAR0, CONFIG, COMMAND, ENABLED] = [0, 7, 4, 0x6];
const [IOVA, PAGE] = [0x100000n, 4096];
const { RUN, TO_MEMORY } = EduDmaCommand;
const [ways = '', other = '', first = '', second = ''] = process.argv.slice(2);

async function transfer(device, from, to, command) {
  for (const [register, value] of [
    [EduRegister.DMA_SOURCE, from],
    [EduRegister.DMA_DESTINATION, to],
    [EduRegister.DMA_COUNT, BigInt(PAGE)],
    [EduRegister.DMA_COMMAND, BigInt(command)],
  ]) {
    device.regions.setRegister(BAR0, register, 8, value);
  }
  while (device.regions.register(BAR0, EduRegister.DMA_COMMAND, 8).getBigUint64(0, true) & 1n)
    await sleep(20);
}

/** Whether a device copies the first page to the second one. */
async function copies(device, region, value) {
  device.regions.setRegister(CONFIG, COMMAND, 2, ENABLED);
  region.bytes.fill(value, 0, PAGE).fill(0, PAGE);
  await transfer(device, IOVA, EDU_BUFFER, RUN);
  await transfer(device, EDU_BUFFER, IOVA + BigInt(PAGE), RUN | TO_MEMORY);
  return region.bytes[PAGE] === value && region.bytes[2 * PAGE - 1] === value;
}

async function share(way) {
  const memory = new GuestMemory();
  const a = await KernelDevice.open(first, { way });
  const b = await KernelDevice.open(second, { way });
  const c = await KernelDevice.open(other, { way, beside: a });
  try {
    const region = memory.add({ iova: IOVA, size: 2 * PAGE });
    const again = await KernelDevice.open(first, { way }).catch(({ code }) => code);
    await a.mapMemory(region);
    const [byOther, byThird] = [await copies(b, region, 0x31), await copies(c, region, 0x32)];
    await b.mapMemory(region);
    await a.dispose();
    const stillThere = await copies(c, region, 0x33);
    await b.unmapMemory(region);
    const afterwards = await copies(c, region, 0x34);
    return { way, again, byOther, byThird, stillThere, afterwards };
  } finally {
    for (const device of [a, b, c]) await device.dispose();
    memory.close();
  }
}

const found = [];
for (const way of ways.split(',')) found.push(await share(way));
console.log(JSON.stringify(found));
