import {
  DeviceInfo,
  DeviceInfoFlag,
  deviceGetInfo,
  PCI_NUM_IRQS,
  PCI_NUM_REGIONS,
} from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { V1_REGION_INDEX } from '../v1/v1-interface.ts';
import { answer } from './handler.ts';

/** DEVICE_GET_INFO. Answered in every state: a client that reconnects asks it first. */
export function handleDeviceInfo(served: ServedConnection, message: IncomingMessage): boolean {
  deviceGetInfo.request.decode(message.payload(), message.fds.length);
  const reply = deviceGetInfo.reply.encode({
    argsz: DeviceInfo.size,
    flags: DeviceInfoFlag.PCI | (served.server.device.resettable === false ? 0 : DeviceInfoFlag.RESET),
    numRegions: served.server.v1 === null ? PCI_NUM_REGIONS : V1_REGION_INDEX + 1,
    numIrqs: PCI_NUM_IRQS,
  });
  answer(served, message, reply);
  return true;
}
