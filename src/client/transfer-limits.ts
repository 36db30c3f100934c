import type { Agreement } from '../protocol/index.ts';

/** What one message may carry, as operations need to know it. */
export interface TransferLimits {
  /** Most bytes that may be asked for. */
  readonly read: number;
  /** Most bytes that may be sent as data. */
  readonly write: number;
  /** Most fds that may be sent. */
  readonly fds: number;
  /** Longest payload of a reply, in bytes. */
  readonly reply: number;
  /** How many MIG_DATA_WRITE may be under way at once. */
  readonly writesInFlight: number;
}

/**
 * libvfio-user reads the body of a message with one recv, and a message of more than 36,544 bytes is several buffers of
 * the kernel: it takes the rest for the next header (its issue 306). So for servers that are not known to be Ferry
 * messages are kept below, and only one with data is under way at a time.
 */
const SAFE_WRITE = 32 * 1024;
const WRITES_IN_FLIGHT = 64;

/** What follows from VERSION. Both limits apply in both directions: libvfio-user goes by its client's for everything. */
export function limitsOf(
  agreement: Agreement,
  maxReply: number,
  maxWrite: number | undefined,
): TransferLimits {
  const transfer = Math.min(agreement.send.maxDataXferSize, agreement.receive.maxDataXferSize);
  const isFerry = agreement.inspect || agreement.precopyInfo;
  return {
    read: transfer,
    write: Math.min(transfer, maxWrite ?? (isFerry ? transfer : SAFE_WRITE)),
    fds: agreement.send.maxMsgFds,
    reply: maxReply,
    writesInFlight: isFerry ? WRITES_IN_FLIGHT : 1,
  };
}
