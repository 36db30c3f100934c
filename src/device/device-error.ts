import { type ErrorDetails, FerryError } from '../errors/index.ts';

/** What a {@link DeviceError} can be; stable across releases. */
export type DeviceErrorCode =
  /** An access that a register or region refuses. */
  | 'ERR_DEVICE_ACCESS'
  /** An interrupt index or vector that the device lacks. */
  | 'ERR_DEVICE_INTERRUPT'
  /** Declarations that contradict each other or PCI. */
  | 'ERR_DEVICE_DECLARATION'
  /** A service was used before the device was bound, or the device was bound twice. */
  | 'ERR_DEVICE_BOUND'
  /** Asynchronous behaviour where everything has to be synchronous. */
  | 'ERR_DEVICE_ASYNCHRONOUS'
  /** DMA while the device may not initiate any, or abandoned by a reset. */
  | 'ERR_DEVICE_QUIESCED'
  /** DMA without bus mastering, for a device that honours it. */
  | 'ERR_DEVICE_BUS_MASTER'
  /** The author's work, timer or hook threw. */
  | 'ERR_DEVICE_CALLBACK'
  /** A request that does not suit the state of migration, or a state that does not suit the device. */
  | 'ERR_DEVICE_MIGRATION';

/** Something that a device refuses, or that went wrong in it. */
export class DeviceError extends FerryError {
  constructor(code: DeviceErrorCode, message: string, details: ErrorDetails) {
    super(code, message, details);
  }
}
