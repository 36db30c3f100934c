export { KernelBridge, type KernelBridgeOptions } from './kernel-bridge.ts';
