export type { DmaRange } from '../memory/index.ts';
export { ConfigurationMode } from '../protocol/index.ts';
export type { DeviceImage, PrecopyInfo } from '../stream/index.ts';
export type {
  Bar,
  BarAccess,
  BarContent,
  BarIndex,
  BarOptions,
  Bars,
  MemoryBarOptions,
  RegisterBarOptions,
} from './bar.ts';
export type { RegionCallbacks } from './callback-content.ts';
export type { Capability, ExtendedCapability } from './capability.ts';
export type { ConfigAccess } from './config-access.ts';
export type { ConfigRegister } from './configuration-space.ts';
export { DeclaredMigration, type MigrationServices } from './declared-migration.ts';
export type { DeviceDma } from './device-dma.ts';
export { DeviceError, type DeviceErrorCode } from './device-error.ts';
export type {
  DeviceHandover,
  HandedBlock,
  PartVersion,
  Possessions,
  TimerPhase,
} from './device-handover.ts';
export type { DeviceOptions } from './device-options.ts';
export type { Doorbell } from './doorbell.ts';
export type { ExpressDeclaration } from './express-capability.ts';
export { InterruptController, type InterruptMode } from './interrupt-controller.ts';
export type { InterruptDeclaration, MsiDeclaration, MsixDeclaration } from './interrupt-declaration.ts';
export type { IrqDescription, Trigger } from './interrupt-line.ts';
export type { ClientSide } from './interrupt-lines.ts';
export type { IrqMaskChange } from './irq-mask.ts';
export { LOG_LEVELS, Log, type LogEntry, type LogLevel, type LogSink, type LogText } from './log.ts';
export { PciDevice } from './pci-device.ts';
export type { PciIdentity } from './pci-identity.ts';
export type { PowerManagementDeclaration } from './power-management.ts';
export {
  constant,
  field,
  type NarrowRegister,
  type Register,
  type RegisterMap,
  readOnly,
  register,
  type WideRegister,
  writeOnly,
} from './registers.ts';
export type { FunctionResetReason, ResetReason } from './reset-reason.ts';
export { RunLevel } from './run-control.ts';
export type {
  BindableDevice,
  DeviceHost,
  DeviceInspection,
  DeviceMigration,
  InterruptPassage,
  Region,
  RegionArea,
  ServedDevice,
  SharedRegion,
  TimerHandle,
  TimerHost,
} from './served-device.ts';
export * from './state/index.ts';
export type { Synchronous } from './synchronous.ts';
export { GiB, KiB, MiB } from './units.ts';
export {
  type ExtendedVendorBytes,
  type VendorBytes,
  vendorSpecific,
  vendorSpecificExtended,
} from './vendor-capabilities.ts';
