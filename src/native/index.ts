export { check } from './check.ts';
export { loadNative } from './load.ts';
export type { Native, PumpHandle, WatchHandle } from './native.ts';
export { NativeError } from './native-error.ts';
