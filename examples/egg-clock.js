// Winds up the device of egg-timer.ts, if told to, and says how it is. Every call blocks.
// node examples/egg-clock.js /tmp/egg.sock [tenths of a second]
import { SyncDeviceClient } from 'vfio-ferry';

const [, , socketPath, tenths] = process.argv;
const device = SyncDeviceClient.connect(socketPath);
if (tenths !== undefined) device.writeU32(0, 0x0, Number(tenths));
console.log(`left ${device.readU32(0, 0x0)}, rings ${device.readU32(0, 0x8)}`);
device.close();
