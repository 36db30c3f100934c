import { Errno, errnoName, FerryError } from '../errors/index.ts';
import { commandName } from '../protocol/index.ts';

/** The client refused a DMA message, or did only part of it. QEMU says ENODEV while BUS MASTER is off. */
export class RemoteDmaError extends FerryError {
  constructor(command: number, address: bigint, count: number, errno: number, detail?: string) {
    const name = commandName(command);
    const reason = detail ?? (errno === 0 ? 'no errno given' : errnoName(errno));
    const where = `0x${address.toString(16)}`;
    super('ERR_REMOTE_DMA', `${name} of ${count} bytes at ${where}: ${reason}`, {
      errno: errno === 0 ? Errno.EIO : errno,
      context: { command: name, iova: where, count },
    });
  }
}
