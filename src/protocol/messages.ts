import { ferryClaim } from './claim.ts';
import { deviceGetInfo } from './device-info.ts';
import { dmaMap, dmaRead, dmaUnmap, dmaWrite } from './dma.ts';
import { deviceFeature } from './feature.ts';
import { ferryInspect, ferryPrecopyInfo } from './ferry.ts';
import { ferryHandover } from './handover.ts';
import { deviceGetIrqInfo, deviceSetIrqs } from './irq.ts';
import type { Message } from './message.ts';
import { migDataRead, migDataWrite } from './migration-data.ts';
import { ferryReconnection } from './reconnection.ts';
import { regionRead, regionWrite, regionWriteMulti } from './region-access.ts';
import { deviceGetRegionInfo } from './region-info.ts';
import { deviceGetRegionIoFds } from './region-io-fds.ts';
import { deviceReset } from './reset.ts';
import { ferrySwitchover } from './switchover.ts';
import { version } from './version.ts';

/** Every message, in the order of the command numbers. */
export const messages: readonly Message[] = [
  version,
  dmaMap,
  dmaUnmap,
  deviceGetInfo,
  deviceGetRegionInfo,
  deviceGetRegionIoFds,
  deviceGetIrqInfo,
  deviceSetIrqs,
  regionRead,
  regionWrite,
  dmaRead,
  dmaWrite,
  deviceReset,
  regionWriteMulti,
  deviceFeature,
  migDataRead,
  migDataWrite,
  ferryPrecopyInfo,
  ferryInspect,
  ferryClaim,
  ferryReconnection,
  ferrySwitchover,
  ferryHandover,
];

const byCommand: ReadonlyMap<number, Message> = new Map(messages.map((one) => [one.command, one]));

/** The message of a command number; undefined for one that does not exist. */
export function messageOf(command: number): Message | undefined {
  return byCommand.get(command);
}
