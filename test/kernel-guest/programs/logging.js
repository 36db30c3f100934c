// Has a device log what it writes by DMA. Run with its name; prints what was found, as JSON.
import { GuestMemory } from '../../../dist/client/index.js';
import { KernelDevice } from '../../../dist/kernel/index.js';

const [IOVA, PAGE, PAGES] = [0x100000n, 4096n, 8n];
const device = await KernelDevice.open(process.argv[2] ?? '');
const memory = new GuestMemory();
try {
  await device.mapMemory(memory.add({ iova: IOVA, size: Number(PAGES * PAGE) }));
  const pageSize = await device.startDmaLogging(PAGE, []);
  const [pages] = await device.dmaLog(IOVA, PAGES * PAGE, PAGE);
  await device.stopDmaLogging();
  console.log(JSON.stringify({ pageSize: Number(pageSize), pages }));
} finally {
  await device.dispose();
  memory.close();
}
