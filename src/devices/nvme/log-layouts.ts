import { layout, text, uint, wide } from './layout.ts';

/** An entry of the error information log (NVM Express 1.4, figure 194). */
export const ERROR_ENTRY = layout(64, {
  ERROR_COUNT: wide(0, 8),
  SQID: uint(8, 2),
  CID: uint(10, 2),
  /** Bits 1 to 15; bit 0 would be the phase tag. */
  STATUS: uint(12, 2),
  LBA: wide(16, 8),
  NSID: uint(24, 4),
});

/** SMART / health information (figure 196). */
export const HEALTH = layout(512, {
  CRITICAL_WARNING: uint(0, 1),
  /** Kelvin. */
  COMPOSITE_TEMPERATURE: uint(1, 2),
  AVAILABLE_SPARE: uint(3, 1),
  AVAILABLE_SPARE_THRESHOLD: uint(4, 1),
  PERCENTAGE_USED: uint(5, 1),
  /** Thousands of 512-byte units, rounded up. */
  DATA_UNITS_READ: wide(32, 16),
  DATA_UNITS_WRITTEN: wide(48, 16),
  HOST_READ_COMMANDS: wide(64, 16),
  HOST_WRITE_COMMANDS: wide(80, 16),
  POWER_CYCLES: wide(112, 16),
  MEDIA_ERRORS: wide(160, 16),
  ERROR_LOG_ENTRIES: wide(176, 16),
});

/** Firmware slot information (figure 197). */
export const FIRMWARE_SLOTS = layout(512, {
  /** Active firmware info: slot 1 is active. */
  AFI: uint(0, 1),
  FRS1: text(8, 8),
});

/** The changed namespace list (figure 198): ids, 32 bits each. No namespace ever changes. */
export const CHANGED_NAMESPACES = layout(4096, {});
