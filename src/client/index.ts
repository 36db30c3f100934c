export { CONTROL_SUFFIX } from '../protocol/index.ts';
export type { Answer, Mode } from './answer.ts';
export { ClaimError, type ClaimErrorCode, describeClaim } from './claim-error.ts';
export type { ClaimStatus } from './claim-status.ts';
export { ClientError, type ClientErrorCode } from './client-error.ts';
export { type ClientOptions, DEFAULT_TIMEOUT_MS } from './client-options.ts';
export { findControlSocket } from './control-socket.ts';
export type {
  DeviceDescription,
  DeviceInfo,
  IrqInfo,
  MappedArea,
  MappedRegion,
  PrecopyInfo,
  RegionArea,
  RegionInfo,
  RegionKind,
  ResetReport,
  ResetRung,
  V1Description,
} from './descriptions.ts';
export { DeviceClient } from './device-client.ts';
export type { DeviceDoorbell, DoorbellShadow } from './device-doorbell.ts';
export type { DeviceMethods, DmaRange, SmallWrite, UnmapOptions, WriteOptions } from './device-methods.ts';
export { type GuestAccess, GuestMemory, type GuestRegion, type GuestRegionOptions } from './guest-memory.ts';
export type { InterruptListener } from './irq-eventfds.ts';
export { MigrationStateError, type MigrationStateErrorCode } from './migration-state-error.ts';
export type { MovableDevice } from './movable-device.ts';
export type { PciCapability, PciCapabilityDetails } from './pci-capabilities.ts';
export { type PciBar, type PciConfig, parsePciConfig } from './pci-config.ts';
export type { ReconnectionChoice, ReconnectionStatus } from './reconnection.ts';
export type { RegionDoorbells } from './region-doorbells.ts';
export { RemoteError, type RemoteErrorCode } from './remote-error.ts';
export type { SwitchoverRequest, SwitchoverStatus } from './switchover.ts';
export { SyncDeviceClient } from './sync-device-client.ts';
export { V1Device, type V1DeviceOptions } from './v1-device.ts';
export { V1Error, type V1ErrorCode, V1StateError } from './v1-error.ts';
export { findV1Region, isV1Region } from './v1-region.ts';
