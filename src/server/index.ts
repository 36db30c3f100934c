export type { ClaimHistory } from './claims.ts';
export {
  DedicatedError,
  type DedicatedOptions,
  type DedicatedServer,
  serveDedicated,
} from './dedicated.ts';
export { DeviceServer } from './device-server.ts';
export type { DeviceServerOptions } from './device-server-options.ts';
export type { BellShape, GivenBells } from './doorbells.ts';
export type { HoldReport } from './hold.ts';
export type { MigrationSession } from './migration-session.ts';
export type { OnReconnect } from './reconnection.ts';
export { RemoteDmaError } from './remote-dma-error.ts';
export {
  acceptOrReport,
  type RunningServer,
  type ServedListener,
  type ServeOptions,
  serveDevice,
} from './serve.ts';
export type { Role, ServedConnection } from './served-connection.ts';
export { ServerError, type ServerErrorCode } from './server-error.ts';
export type {
  Owned,
  RemainingConnection,
  RemainingInterrupts,
  RemainingLink,
  ServerRemains,
} from './server-remains.ts';
export type { Succession } from './succession.ts';
export { V1_RULE_NAMES, type V1Options } from './v1/v1-options.ts';
