// Move a running device: two servers, one counter; what counted here goes on counting there.
// node examples/move.js
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clientEnd, DeviceClient, migrate, serveDevice } from 'vfio-ferry';
import Counter from './counter.js';

const folder = mkdtempSync(join(tmpdir(), 'ferry-move-'));
const [here, there] = ['here', 'there'].map((name) =>
  serveDevice(new Counter(), { socketPath: join(folder, name) }),
);
const guest = await DeviceClient.connect(here.socketPath);
await guest.writeU32(0, 0x04, 12345);

const source = await DeviceClient.connect(here.controlPath);
const destination = await DeviceClient.connect(there.controlPath);
const report = await migrate(clientEnd(source, 'here'), clientEnd(destination, 'there'));
console.log(`moved ${report.bytes.total} bytes`);

const guestThere = await DeviceClient.connect(there.socketPath);
console.log(`period is ${await guestThere.readU32(0, 0x04)}`);
const tick = await guestThere.readU32(0, 0x00);
await new Promise((resolve) => setTimeout(resolve, 100));
console.log(`ticking: ${(await guestThere.readU32(0, 0x00)) > tick}`);

for (const client of [guest, source, destination, guestThere]) client.close();
for (const server of [here, there]) server.close();
rmSync(folder, { recursive: true });
