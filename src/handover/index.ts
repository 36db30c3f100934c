export {
  type RestoreOptions,
  restoreDevice,
  returnDevice,
  type StoredDevice,
  storedDevice,
} from './fd-restore.ts';
export { type FdStoreOptions, serviceReady, storeDevice } from './fd-store.ts';
export { HandoverError, type HandoverErrorCode } from './handover-error.ts';
export type { HandoverLimits } from './limits.ts';
export { type HandoverOffer, type OfferOptions, offerHandover } from './offer.ts';
export type { Pause } from './pause.ts';
export { type TakenServer, type TakeOverOptions, takeOver } from './take-over.ts';
