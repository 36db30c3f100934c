import type { DeviceMethods } from './device-methods.ts';

/**
 * What is needed of a device to inspect and to move it, wherever it is: behind a socket, or in the kernel. Errors are
 * RefusalErrors when whoever has the device answered with an errno.
 */
export type MovableDevice = Pick<
  DeviceMethods<'async'>,
  | 'agreement'
  | 'path'
  | 'closedBecause'
  | 'info'
  | 'regionInfo'
  | 'irqInfo'
  | 'describe'
  | 'mapRegion'
  | 'read'
  | 'write'
  | 'readU32'
  | 'readU64'
  | 'writeU32'
  | 'writeU64'
  | 'reset'
  | 'migrationFlags'
  | 'migrationState'
  | 'setMigrationState'
  | 'migrationDataSize'
  | 'precopyInfo'
  | 'readMigrationData'
  | 'writeMigrationData'
  | 'startDmaLogging'
  | 'stopDmaLogging'
  | 'dmaLog'
  | 'inspectServer'
  | 'claimStatus'
  | 'claim'
  | 'retire'
  | 'release'
  | 'forceRelease'
  | 'close'
>;
