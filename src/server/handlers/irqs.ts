import type { InterruptPassage } from '../../device/index.ts';
import { Errno } from '../../errors/index.ts';
import { deviceGetIrqInfo, deviceSetIrqs, IrqInfo, IrqSetFlag, type ValueOf } from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import { requireEventfds } from '../irq-eventfds.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { acknowledge, answer } from './handler.ts';

type SetIrqs = ValueOf<typeof deviceSetIrqs.request>;

/** DEVICE_GET_IRQ_INFO. */
export function handleIrqInfo(served: ServedConnection, message: IncomingMessage): boolean {
  const { index } = deviceGetIrqInfo.request.decode(message.payload(), message.fds.length);
  const { count, flags } = signallerOf(served).info(index);
  answer(served, message, deviceGetIrqInfo.reply.encode({ argsz: IrqInfo.size, flags, index, count }));
  return true;
}

/** DEVICE_SET_IRQS in all its forms. */
export function handleSetIrqs(served: ServedConnection, message: IncomingMessage): boolean {
  const request = deviceSetIrqs.request.decode(message.payload(), message.fds.length);
  const { flags, index, start, count } = request;
  requireVectors(served, request);
  if (count === 0) disable(served, index);
  else if ((flags & IrqSetFlag.DATA_EVENTFD) !== 0) assign(served, request, message);
  else act(served, request);
  acknowledge(served, message);
  return true;

  function requireVectors(on: ServedConnection, { count: wanted }: SetIrqs): void {
    const info = signallerOf(on).info(index);
    if (start + wanted <= info.count && (wanted === 0 || start < info.count)) return;
    const text = `interrupt index ${index} has ${info.count} vectors`;
    throw new ServerError('ERR_BAD_RANGE', text, { index, start, count: wanted });
  }
}

/** Who signals the interrupts of the device. */
function signallerOf({ server: { device } }: ServedConnection): Pick<InterruptPassage, 'info' | 'disable'> {
  return device.passage ?? device.interrupts;
}

function disable(served: ServedConnection, index: number): void {
  signallerOf(served).disable(index);
  served.server.eventfds.release(index);
}

/** Gives vectors their eventfds. No fds at all means "enabled, with none" (-1 in the kernel's interface). */
function assign(
  served: ServedConnection,
  { flags, index, start, count }: SetIrqs,
  message: IncomingMessage,
): void {
  if ((flags & IrqSetFlag.ACTION_TRIGGER) === 0) {
    const text = 'eventfds for mask and unmask are not supported';
    throw new ServerError('ERR_NOT_SUPPORTED', text, { index }, { errno: Errno.ENOTTY });
  }
  requireEventfds(message.fds);
  const fds = message.takeFds();
  const { eventfds, device } = served.server;
  const triggers = Array.from({ length: count }, (_, i) => eventfds.assign(index, start + i, fds[i] ?? null));
  if (device.passage === undefined) device.interrupts.setTriggers(index, start, triggers);
  else
    device.passage.assign(
      index,
      start,
      Array.from({ length: count }, (_, i) => fds[i] ?? null),
    );
}

/** MASK, UNMASK and TRIGGER, for all vectors of the range or for those that a byte each selects. */
function act(served: ServedConnection, { flags, index, start, count, data }: SetIrqs): void {
  const { interrupts, passage } = served.server.device;
  const bySelection = (flags & IrqSetFlag.DATA_BOOL) !== 0;
  const run = (vector: number, length: number): void => {
    if ((flags & IrqSetFlag.ACTION_MASK) !== 0) interrupts.mask(index, vector, length);
    else if ((flags & IrqSetFlag.ACTION_UNMASK) !== 0) interrupts.unmask(index, vector, length);
    else for (let i = 0; i < length; i += 1) interrupts.loopback(index, vector + i);
  };
  if (passage !== undefined) {
    const chosen = Array.from({ length: count }, (_, i) => !bySelection || data[i] !== 0);
    return passage.act(actionOf(flags), index, start, chosen);
  }
  if (!bySelection) return run(start, count);
  for (let i = 0; i < count; i += 1) if (data[i] !== 0) run(start + i, 1);
}

function actionOf(flags: number): 'mask' | 'unmask' | 'trigger' {
  if ((flags & IrqSetFlag.ACTION_MASK) !== 0) return 'mask';
  return (flags & IrqSetFlag.ACTION_UNMASK) !== 0 ? 'unmask' : 'trigger';
}
