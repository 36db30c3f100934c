import {
  Command,
  DeviceInfoFlag,
  DeviceInfo as DeviceInfoLayout,
  deviceGetInfo,
  deviceGetIrqInfo,
  IrqInfoFlag,
  IrqInfo as IrqInfoLayout,
  ProtocolError,
} from '../protocol/index.ts';
import type { DeviceInfo, IrqInfo } from './descriptions.ts';
import type { Operation } from './operation.ts';

/** DEVICE_GET_INFO. */
export function* deviceInfo(): Operation<DeviceInfo> {
  const request = { argsz: DeviceInfoLayout.size, flags: 0, numRegions: 0, numIrqs: 0 };
  const reply = yield { command: Command.DEVICE_GET_INFO, payload: deviceGetInfo.request.encode(request) };
  const { flags, numRegions, numIrqs } = deviceGetInfo.reply.decode(reply.payload());
  return {
    resettable: (flags & DeviceInfoFlag.RESET) !== 0,
    pci: (flags & DeviceInfoFlag.PCI) !== 0,
    regionCount: numRegions,
    irqCount: numIrqs,
  };
}

/** DEVICE_GET_IRQ_INFO. */
export function* irqInfo(index: number): Operation<IrqInfo> {
  const request = { argsz: IrqInfoLayout.size, flags: 0, index, count: 0 };
  const reply = yield {
    command: Command.DEVICE_GET_IRQ_INFO,
    payload: deviceGetIrqInfo.request.encode(request),
  };
  const info = deviceGetIrqInfo.reply.decode(reply.payload());
  requireSameIndex('DEVICE_GET_IRQ_INFO', index, info.index);
  return {
    index,
    count: info.count,
    eventfd: (info.flags & IrqInfoFlag.EVENTFD) !== 0,
    maskable: (info.flags & IrqInfoFlag.MASKABLE) !== 0,
    autoMasked: (info.flags & IrqInfoFlag.AUTOMASKED) !== 0,
    noResize: (info.flags & IrqInfoFlag.NORESIZE) !== 0,
  };
}

/** Refuses an answer about another region or interrupt than was asked for. */
export function requireSameIndex(command: string, asked: number, answered: number): void {
  if (asked === answered) return;
  throw new ProtocolError(`${command} reply: index ${answered} instead of ${asked}`, {
    context: { message: `${command} reply`, field: 'index', asked, answered },
  });
}
