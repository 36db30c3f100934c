export type { HandoverLimits } from './giver.ts';
export { HandoverError, type HandoverErrorCode } from './handover-error.ts';
export { type HandoverOffer, type OfferOptions, offerHandover } from './offer.ts';
export { type TakenServer, type TakeOverOptions, takeOver } from './take-over.ts';
