import { Errno } from '../errors/index.ts';
import { Command, DmaAccess, dmaRead, dmaWrite, littleEndian, readU64AsNumber } from '../protocol/index.ts';
import type { Connection, IncomingMessage } from '../transport/index.ts';
import type { MappedMemory } from './mapped-memory.ts';

/**
 * Answers the device's DMA_READ and DMA_WRITE out of guest memory. Errors as QEMU gives them: fds EINVAL, more than the
 * agreed max_data_xfer_size E2BIG, any other command ENOSYS; an address without memory is EFAULT here.
 */
export class DmaResponder {
  readonly #memory: MappedMemory;
  readonly #maxCount: number;

  /** `maxCount` is the max_data_xfer_size that the server was told, in bytes. */
  constructor(memory: MappedMemory, maxCount: number) {
    this.#memory = memory;
    this.#maxCount = maxCount;
  }

  /** Answers one command of the server on the connection that brought it. */
  answer(connection: Connection, message: IncomingMessage): void {
    const errno = this.#perform(connection, message);
    if (errno !== 0) connection.replyError(message, errno);
  }

  #perform(connection: Connection, message: IncomingMessage): number {
    const { command } = message;
    if (command !== Command.DMA_READ && command !== Command.DMA_WRITE) return Errno.ENOSYS;
    if (message.fds.length > 0) return Errno.EINVAL;
    if (message.length < DmaAccess.size) return Errno.EINVAL;
    const iova = message.view.getBigUint64(message.start + DmaAccess.at.address, littleEndian);
    const count = readU64AsNumber(message.view, message.start + DmaAccess.at.count);
    if (count < 0 || count > this.#maxCount) return Errno.E2BIG;
    if (command === Command.DMA_READ) return this.#read(connection, message, iova, count);
    return this.#write(connection, message, iova, count);
  }

  #read(connection: Connection, message: IncomingMessage, iova: bigint, count: number): number {
    if (message.length !== dmaRead.request.minSize) return Errno.EINVAL;
    const errno = this.#memory.check(iova, count, 'readable');
    if (errno !== 0) return errno;
    const at = beginReply(connection, message, count);
    if (at >= 0) this.#memory.read(iova, count, connection.out.bytes, at);
    return 0;
  }

  #write(connection: Connection, message: IncomingMessage, iova: bigint, count: number): number {
    if (message.length !== dmaWrite.request.minSize + count) return Errno.EINVAL;
    const errno = this.#memory.check(iova, count, 'writable');
    if (errno !== 0) return errno;
    this.#memory.write(iova, count, message.bytes, message.start + DmaAccess.size);
    beginReply(connection, message, 0);
    return 0;
  }
}

/** Both replies begin with the request's address and count. Returns where `size` bytes of data go, -1 for nowhere. */
function beginReply(connection: Connection, message: IncomingMessage, size: number): number {
  const at = connection.reply(message, DmaAccess.size + size);
  if (at < 0) return at;
  const { bytes, start } = message;
  connection.out.bytes.set(bytes.subarray(start, start + DmaAccess.size), at);
  return at + DmaAccess.size;
}
