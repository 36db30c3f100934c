import type { DmaMode } from '../../memory/index.ts';
import { DmaMapFlag, dmaMap } from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { acknowledge, answerWhenDone } from './handler.ts';

/**
 * DMA_MAP: guest memory the device may use, by mapping, by file I/O, or by message where no fd came. Answered when the
 * device reaches it, which takes as long as the pinning where an IOMMU does the mapping.
 */
export function handleDmaMap(served: ServedConnection, message: IncomingMessage): boolean {
  const { flags, address, size, offset } = dmaMap.request.decode(message.payload(), message.fds.length);
  const fd = message.fds.shift() ?? null;
  const work = served.server.memory.map({
    iova: address,
    size,
    offset,
    flags: {
      read: (flags & DmaMapFlag.READ) !== 0,
      write: (flags & DmaMapFlag.WRITE) !== 0,
      mode: modeOf(flags, fd),
    },
    fd,
  });
  answerWhenDone(served, message, work, (to) => acknowledge(served, to));
  return true;
}

/** With neither flag, an fd means mmap and none means messages (vfio-user.rst of QEMU 11.1). */
function modeOf(flags: number, fd: number | null): DmaMode {
  if (fd === null) return 'message';
  return (flags & DmaMapFlag.FILE_IO) !== 0 ? 'file' : 'mmap';
}
