// Drives QEMU's device edu behind an IOMMU: registers by mapping, MSI, DMA both ways, and none after the memory was taken
// back. Run with its address; prints what was found, as JSON.
import { setTimeout as sleep } from 'node:timers/promises';
import { GuestMemory } from '../../../dist/client/index.js';
import { EDU_BUFFER, EduDmaCommand, EduRegister } from '../../../dist/devices/index.js';
import { KernelDevice } from '../../../dist/kernel/index.js';

const [BAR0, CONFIG, MSI] = [0, 7, 1];
const COMMAND = 4;
/** Memory access, bus master. */
const ENABLED = 0x6;
const IOVA = 0x100000n;
const PAGE = 4096;

const device = await KernelDevice.open(process.argv[2] ?? '');
const found = {};
const interrupts = [];
let arrived = () => {};

/** Waits for the next interrupt and tells the device. */
async function served(start) {
  const came = new Promise((resolve) => {
    arrived = resolve;
  });
  start();
  const timer = setTimeout(() => arrived(false), 5000);
  const answer = await came;
  clearTimeout(timer);
  const status = await device.readU32(BAR0, EduRegister.INTERRUPT_STATUS);
  await device.writeU32(BAR0, EduRegister.INTERRUPT_ACKNOWLEDGE, status);
  return answer === false ? 'no interrupt' : status;
}

function transfer(from, to, command) {
  device.regions.setRegister(BAR0, EduRegister.DMA_SOURCE, 8, from);
  device.regions.setRegister(BAR0, EduRegister.DMA_DESTINATION, 8, to);
  device.regions.setRegister(BAR0, EduRegister.DMA_COUNT, 8, BigInt(PAGE));
  device.regions.setRegister(BAR0, EduRegister.DMA_COMMAND, 8, BigInt(command));
}

/** Until the device says that it has ended. */
async function ended() {
  for (let i = 0; i < 100; i += 1) {
    if ((device.regions.register(BAR0, EduRegister.DMA_COMMAND, 8).getBigUint64(0, true) & 1n) === 0n)
      return true;
    await sleep(20);
  }
  return false;
}

const memory = new GuestMemory();
try {
  const config = device.regions.register(CONFIG, COMMAND, 2).getUint16(0, true);
  device.regions.setRegister(CONFIG, COMMAND, 2, config | ENABLED);

  const mapped = await device.mapRegion(BAR0);
  const registers = new Uint32Array(mapped.areas[0].bytes.buffer);
  registers[EduRegister.LIVENESS / 4] = 0x12345678;
  found.identification = registers[EduRegister.IDENTIFICATION / 4];
  found.liveness = registers[EduRegister.LIVENESS / 4];
  mapped.close();

  device.interrupts.listen(MSI, 1, (vector, times) => {
    interrupts.push([vector, times]);
    arrived(true);
  });
  found.raised = await served(() => device.regions.setRegister(BAR0, EduRegister.INTERRUPT_RAISE, 4, 0x42));

  const region = memory.add({ iova: IOVA, size: 2 * PAGE });
  await device.mapMemory(region);
  const pattern = Uint8Array.from({ length: PAGE }, (_, i) => (i * 7 + 3) & 0xff);
  region.bytes.set(pattern);
  const { RUN, TO_MEMORY, INTERRUPT } = EduDmaCommand;
  found.toDevice = await served(() => transfer(IOVA, EDU_BUFFER, RUN | INTERRUPT));
  found.toMemory = await served(() => transfer(EDU_BUFFER, IOVA + BigInt(PAGE), RUN | TO_MEMORY | INTERRUPT));
  found.same = Buffer.compare(region.bytes.subarray(PAGE), pattern) === 0;

  // Of memory that was taken back nothing can be reached, neither in its file nor at an address that others have by now.
  await device.unmapMemory(region);
  region.bytes.fill(0x11);
  const others = Array.from({ length: 4 }, (_, i) =>
    memory.add({ iova: IOVA + BigInt((i + 2) * PAGE * 2), size: 2 * PAGE }),
  );
  transfer(EDU_BUFFER, IOVA, RUN | TO_MEMORY);
  found.ended = await ended();
  found.untouched = region.bytes.every((byte) => byte === 0x11);
  found.othersUntouched = others.every(({ bytes }) => bytes.every((byte) => byte === 0));

  // What a device reads where nothing is mapped is nothing of ours: seen when it is mapped again and written back.
  transfer(IOVA, EDU_BUFFER, RUN);
  await ended();
  await device.mapMemory(region);
  transfer(EDU_BUFFER, IOVA, RUN | TO_MEMORY);
  await ended();
  found.readNothing = !region.bytes.subarray(0, PAGE).every((byte) => byte === 0x11);

  found.refused = await device.mapMemory(memory.add({ iova: 0xfee00000n, size: PAGE })).then(
    () => 'mapped',
    ({ code, errno }) => ({ code, errno }),
  );
  found.flags = await device.migrationFlags();
  const { rung } = await device.reset().catch(({ code }) => ({ rung: code }));
  found.reset = rung;
  const { container } = device;
  if (container !== null) {
    await container.trackDirty(true);
    found.dirty = (await container.dirtyBitmap(IOVA, BigInt(2 * PAGE), BigInt(PAGE)))[0];
    await container.trackDirty(false);
  }
  found.way = (await device.inspectServer()).kernel.way;
  found.interrupts = interrupts;
} finally {
  await device.dispose();
  memory.close();
}
console.log(JSON.stringify(found));
