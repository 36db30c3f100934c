export { DeviceProxy, type ProxyOptions, type ProxyStatus } from './device-proxy.ts';
export { ProxyError, type ProxyErrorCode } from './proxy-error.ts';
export type { Loss } from './session-options.ts';
export { SWAP_STEPS, type SwapReport, type SwapStep } from './swap-steps.ts';
