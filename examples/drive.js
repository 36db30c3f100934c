// Be the VMM: read a device's identity and registers, change one, take an interrupt. Every call blocks.
// node examples/drive.js /tmp/counter.sock
import { SyncDeviceClient } from 'vfio-ferry';

const [, , socketPath] = process.argv;
const device = SyncDeviceClient.connect(socketPath);
const CONFIG = 7;
const MSIX = 2;

const id = device.readU32(CONFIG, 0);
console.log(`vendor ${(id & 0xffff).toString(16)}, device ${(id >>> 16).toString(16)}`);

device.writeU32(0, 0x04, 3); // an interrupt every third tick
device.enableInterrupts(MSIX, 1);
const before = device.readU32(0, 0x00);
const came = device.waitInterrupt(MSIX, 0, 2000);
const after = device.readU32(0, 0x00);
console.log(`${came ? 'an interrupt' : 'no interrupt'} between tick ${before} and tick ${after}`);
device.close();
