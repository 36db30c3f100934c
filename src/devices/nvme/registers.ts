import { LARGEST_PAGE_SHIFT, MAX_ENTRIES } from './limits.ts';

/** The registers of an NVMe controller in BAR0, by offset (NVM Express 1.4, section 3.1). */
export const NvmeRegister = {
  /** Controller capabilities, 64 bits. */
  CAP: 0x00,
  /** Version. */
  VS: 0x08,
  /** Interrupt mask: a write of 1 sets a bit. */
  INTMS: 0x0c,
  /** The same mask: a write of 1 clears a bit. */
  INTMC: 0x10,
  /** Controller configuration. */
  CC: 0x14,
  /** Controller status. */
  CSTS: 0x1c,
  /** Admin queue attributes: the sizes of both queues. */
  AQA: 0x24,
  /** Admin submission queue base address, 64 bits. */
  ASQ: 0x28,
  /** Admin completion queue base address, 64 bits. */
  ACQ: 0x30,
  /** The first doorbell: submission queue 0 tail; then completion queue 0 head, submission queue 1 tail and so on. */
  DOORBELLS: 0x1000,
} as const;

/** Fields of CC (section 3.1.5). */
export const ControllerConfiguration = {
  ENABLE: 1,
  commandSet: (cc: number): number => (cc >>> 4) & 7,
  /** Memory page size: the power of two above 4 KiB. */
  pageSize: (cc: number): number => (cc >>> 7) & 15,
  arbitration: (cc: number): number => (cc >>> 11) & 7,
  shutdown: (cc: number): number => (cc >>> 14) & 3,
  submissionEntry: (cc: number): number => (cc >>> 16) & 15,
  completionEntry: (cc: number): number => (cc >>> 20) & 15,
} as const;

/** The bits of CC that exist. */
export const CC_MASK = 0x00fffff1;

/** Bits of CSTS (section 3.1.6). */
export const ControllerStatus = {
  READY: 0x1,
  FATAL: 0x2,
  SHUTDOWN_OCCURRING: 0x4,
  SHUTDOWN_COMPLETE: 0x8,
  SHUTDOWN_MASK: 0xc,
} as const;

/** NVM Express 1.4. */
export const VERSION = 0x00010400;

/** Half seconds that a driver waits for CSTS.RDY. A VMM may keep a driver waiting longer than a disk would: 120 s. */
const TIMEOUT = 240n;

/**
 * CAP (section 3.1.1): queues are contiguous, doorbells are 4 bytes apart, the NVM command set, memory pages from
 * 4 KiB.
 */
export const CAPABILITIES =
  BigInt(MAX_ENTRIES - 1) |
  (1n << 16n) |
  (TIMEOUT << 24n) |
  (1n << 37n) |
  (BigInt(LARGEST_PAGE_SHIFT - 12) << 52n);

/** The bits of AQA that exist: two sizes of 12 bits, each less one. */
export const AQA_MASK = 0x0fff0fff;

/** Queue addresses in ASQ and ACQ are aligned to this at least. */
export const ADMIN_ADDRESS_MASK = 0xffff_ffff_ffff_f000n;
