export { type BodyInput, type BodyValue, body, optional } from './body.ts';
export { littleEndian, readU64AsNumber, writeU64FromNumber } from './byte-order.ts';
export { type Capabilities, capabilitiesObject } from './capabilities.ts';
export { Command, commandName } from './commands.ts';
export {
  bitmapSize,
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
export { type FlagBit, type FlagSet, flags } from './flags.ts';
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
export * from './limits.ts';
export { type FdUse, type Message, message } from './message.ts';
export {
  type Agreement,
  acceptReply,
  type DirectionLimits,
  negotiate,
  OUR_CAPABILITIES,
} from './negotiation.ts';
export {
  type AnyPayload,
  type FdRule,
  type Payload,
  payload,
  type Rule,
  type Trailing,
  type ValueOf,
} from './payload.ts';
export { ProtocolError, type ProtocolErrorCode } from './protocol-error.ts';
export {
  echoRegionAccess,
  MultiWrite,
  REGION_ACCESS_AT,
  RegionAccess,
  regionRead,
  regionWrite,
  regionWriteMulti,
} from './region-access.ts';
export { PROTOCOL_MAJOR, PROTOCOL_MINOR, type Version, version } from './version.ts';
