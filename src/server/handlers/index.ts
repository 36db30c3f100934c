import { Command, commandName } from '../../protocol/index.ts';
import type { Role } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { handleClaim } from './claim.ts';
import { handleDeviceInfo } from './device-info.ts';
import { handleDmaMap } from './dma-map.ts';
import { handleDmaUnmap } from './dma-unmap.ts';
import { handleInspect, handlePrecopyInfo } from './extensions.ts';
import { handleFeature } from './feature.ts';
import type { Handler } from './handler.ts';
import { handleHandover } from './handover.ts';
import { handleIrqInfo, handleSetIrqs } from './irqs.ts';
import { handleMigrationRead, handleMigrationWrite } from './migration-data.ts';
import { handleReconnection } from './reconnection.ts';
import { handleControlWrite, handleRegionRead, handleRegionWrite } from './region-access.ts';
import { handleRegionInfo } from './region-info.ts';
import { handleRegionIoFds } from './region-io-fds.ts';
import { handleRegionWriteMulti } from './region-write-multi.ts';
import { handleReset } from './reset.ts';
import { handleSwitchover } from './switchover.ts';
import { handleVersion } from './version.ts';

/** What both sockets take. */
const shared: readonly (readonly [number, Handler])[] = [
  [Command.VERSION, handleVersion],
  [Command.DEVICE_GET_INFO, handleDeviceInfo],
  [Command.DEVICE_GET_REGION_INFO, handleRegionInfo],
  [Command.DEVICE_GET_IRQ_INFO, handleIrqInfo],
  [Command.REGION_READ, handleRegionRead],
  [Command.DEVICE_RESET, handleReset],
  [Command.DEVICE_FEATURE, handleFeature],
  [Command.MIG_DATA_READ, handleMigrationRead],
  [Command.MIG_DATA_WRITE, handleMigrationWrite],
  [Command.FERRY_PRECOPY_INFO, handlePrecopyInfo],
  [Command.FERRY_INSPECT, handleInspect],
];

/** What only the VMM may do: it owns the memory, the interrupts and the accesses (docs/ownership.md). */
const mainOnly: readonly (readonly [number, Handler])[] = [
  [Command.DMA_MAP, handleDmaMap],
  [Command.DMA_UNMAP, handleDmaUnmap],
  [Command.DEVICE_GET_REGION_IO_FDS, handleRegionIoFds],
  [Command.DEVICE_SET_IRQS, handleSetIrqs],
  [Command.REGION_WRITE, handleRegionWrite],
  [Command.REGION_WRITE_MULTI, handleRegionWriteMulti],
];

/** What only a controller may do: a VMM does not know that its device moves. */
const controlOnly: readonly (readonly [number, Handler])[] = [
  [Command.FERRY_CLAIM, handleClaim],
  [Command.FERRY_SWITCHOVER, handleSwitchover],
  [Command.FERRY_RECONNECTION, handleReconnection],
  [Command.FERRY_HANDOVER, handleHandover],
];

const belongsOn =
  (socket: Role): Handler =>
  (_served, message) => {
    const command = commandName(message.command);
    throw new ServerError('ERR_WRONG_SOCKET', `${command} belongs on the ${socket} socket`, { command });
  };

const unknown: Handler = (_served, message) => {
  const command = commandName(message.command);
  throw new ServerError('ERR_UNKNOWN_COMMAND', `there is no ${command} for a server`, { command });
};

const main = new Map<number, Handler>([
  ...controlOnly.map(([command]): readonly [number, Handler] => [command, belongsOn('control')]),
  ...shared,
  ...mainOnly,
]);
const control = new Map<number, Handler>([
  ...mainOnly.map(([command]): readonly [number, Handler] => [command, belongsOn('main')]),
  ...shared,
  ...controlOnly,
  [Command.REGION_WRITE, handleControlWrite],
]);

/** Who handles a command on a socket; never nobody. */
export function handlerFor(role: Role, command: number): Handler {
  return (role === 'main' ? main : control).get(command) ?? unknown;
}
