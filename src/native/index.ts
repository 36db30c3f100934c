export { check } from './check.ts';
export { CONTROL_LENGTH, Control } from './control.ts';
export { loadNative } from './load.ts';
export type { DmaMemory, Native, PumpHandle, WatchHandle } from './native.ts';
export { NativeError } from './native-error.ts';
