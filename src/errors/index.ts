export { Errno, type ErrnoName, errnoName } from './errno.ts';
export { type ErrorContext, type ErrorDetails, FerryError } from './ferry-error.ts';
export { RefusalError } from './refusal-error.ts';
