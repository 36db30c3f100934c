export { AddressSpace, type DmaReach } from './address-space.ts';
export type { AddressSpaceOptions } from './address-space-options.ts';
export { adoptMaps } from './adopt-maps.ts';
export { DirtyBitmap } from './dirty-bitmap.ts';
export {
  DirtyLog,
  type DirtyLogOptions,
  MAX_LOGGING_PAGE,
  MIN_LOGGING_PAGE,
  reportSize,
} from './dirty-log.ts';
export { DirtyLogError, type DirtyLogErrorCode } from './dirty-log-error.ts';
export { type IovaRange, MAX_LOGGING_RANGES } from './dirty-ranges.ts';
export { DmaError, type DmaErrorCode, dmaErrors } from './dma-error.ts';
export type { DmaPort } from './dma-port.ts';
export type { DmaRange, MapObserver } from './map-observer.ts';
export type { DmaMap, DmaMapFlags, DmaMode } from './mapping.ts';
