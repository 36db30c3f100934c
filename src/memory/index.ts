export { AddressSpace } from './address-space.ts';
export { adoptMaps } from './adopt-maps.ts';
export { DirtyBitmap } from './dirty-bitmap.ts';
export {
  DirtyLog,
  reportSize,
} from './dirty-log.ts';
export { DirtyLogError } from './dirty-log-error.ts';
export { type IovaRange, MAX_LOGGING_RANGES } from './dirty-ranges.ts';
export { DmaError, type DmaErrorCode, dmaErrors } from './dma-error.ts';
export type { DmaPort } from './dma-port.ts';
export type { DmaRange, MapObserver } from './map-observer.ts';
export type { DmaMap, DmaMode } from './mapping.ts';
