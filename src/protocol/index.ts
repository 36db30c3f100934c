export { bitmapSize } from './bitmap-size.ts';
export type { BodyInput, BodyValue } from './body.ts';
export { littleEndian, readU64AsNumber, writeU64FromNumber } from './byte-order.ts';
export { type Capabilities, ConfigurationMode } from './capabilities.ts';
export {
  ClaimFlag,
  ClaimOperation,
  ClaimReply,
  ClaimRequest,
  ClaimRequestFlag,
  claimId,
  claimName,
  ferryClaim,
  fromHalves,
  TOKEN_SIZE,
  toHalves,
} from './claim.ts';
export { Command, commandName } from './commands.ts';
export { describeMessage } from './describe.ts';
export { DeviceInfo, DeviceInfoFlag, deviceGetInfo } from './device-info.ts';
export {
  DmaAccess,
  DmaMap,
  DmaMapFlag,
  DmaUnmap,
  DmaUnmapBitmap,
  DmaUnmapFlag,
  dmaMap,
  dmaRead,
  dmaUnmap,
  dmaWrite,
} from './dma.ts';
export {
  deviceFeature,
  FEATURE_MASK,
  Feature,
  FeatureFlag,
  FeatureHead,
  type FeatureMethods,
  type FeatureOperation,
  featureName,
  featureOperation,
} from './feature.ts';
export {
  FeatureDataSize,
  type FeatureDeclaration,
  FeatureDeviceState,
  type FeatureMethod,
  FeatureMigration,
  featureOf,
  features,
  LoggingControl,
  LoggingRange,
  LoggingReport,
  migrationFlags,
} from './features.ts';
export { CONTROL_SUFFIX, ferryInspect, ferryPrecopyInfo, PrecopyInfo, PrecopyInfoFlag } from './ferry.ts';
export { type FlagBit, type FlagSet, flags } from './flags.ts';
export { ferryHandover, HandoverReply } from './handover.ts';
export {
  decodeHeader,
  encodeHeader,
  HEADER_SIZE,
  Header,
  HeaderFlag,
  isCommand,
  isReply,
  MessageType,
} from './header.ts';
export {
  deviceGetIrqInfo,
  deviceSetIrqs,
  IrqInfo,
  IrqInfoFlag,
  IrqSet,
  IrqSetFlag,
} from './irq.ts';
export type { Json } from './json-field.ts';
export { parseJson } from './json-text.ts';
export {
  type Field,
  type FieldFormat,
  type FieldOptions,
  type FieldPlace,
  type Fields,
  i32,
  padding,
  printScalar,
  type Struct,
  type StructValue,
  struct,
  u8,
  u16,
  u32,
  u64,
  type ValueOfStruct,
} from './layout.ts';
export * from './limits.ts';
export type { FdUse, Message } from './message.ts';
export { messageOf, messages } from './messages.ts';
export { MigrationData, migDataRead, migDataWrite } from './migration-data.ts';
export {
  type Agreement,
  acceptReply,
  type DirectionLimits,
  negotiate,
  OUR_CAPABILITIES,
} from './negotiation.ts';
export type { AnyPayload, FdRule, Payload, Rule, Trailing, ValueOf } from './payload.ts';
export { IrqIndex, PCI_NUM_IRQS, PCI_NUM_REGIONS, RegionIndex } from './pci-indexes.ts';
export { ProtocolError, type ProtocolErrorCode } from './protocol-error.ts';
export {
  ferryReconnection,
  ReconnectionFlag,
  ReconnectionOperation,
  ReconnectionReply,
  ReconnectionRequest,
} from './reconnection.ts';
export {
  echoRegionAccess,
  MultiWrite,
  RegionAccess,
  regionRead,
  regionWrite,
  regionWriteMulti,
} from './region-access.ts';
export {
  CapabilityHeader,
  type RegionCapability,
  RegionCapabilityId,
  RegionType,
  SparseArea,
  SparseMmap,
} from './region-capabilities.ts';
export { deviceGetRegionInfo, RegionInfo, RegionInfoFlag } from './region-info.ts';
export {
  deviceGetRegionIoFds,
  IoEventfdFlag,
  IoFdType,
  IoSubRegion,
  NO_FD_INDEX,
  RegionIoFds,
} from './region-io-fds.ts';
export { deviceReset } from './reset.ts';
export {
  ferrySwitchover,
  SwitchoverFlag,
  SwitchoverOperation,
  SwitchoverReply,
  SwitchoverRequest,
} from './switchover.ts';
export type { BodyShape, ElementShape, TailShape } from './tail.ts';
export { V1_REGION_SUBTYPE, V1_REGION_TYPE, V1MigrationInfo } from './v1-migration.ts';
export { PROTOCOL_MAJOR, PROTOCOL_MINOR, type Version, version } from './version.ts';
export { wireName } from './wire-name.ts';
