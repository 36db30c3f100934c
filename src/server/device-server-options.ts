import type { LogLevel, LogSink } from '../device/index.ts';
import type { FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import type { Capabilities } from '../protocol/index.ts';
import type { Reactor } from '../transport/index.ts';
import type { OnReconnect } from './reconnection.ts';
import type { V1Options } from './v1/v1-options.ts';

/** How a device is served; what is left out has a default. */
export interface DeviceServerOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  /** What is offered in VERSION. */
  readonly capabilities?: Capabilities;
  /** How long a command that wants a reply may wait in a hold, in milliseconds; 4000 by default (a VMM's limit is 5 s). */
  readonly holdLimitMs?: number;
  /** How long one change of the migration state may take, in milliseconds; 10000 by default. */
  readonly transitionTimeoutMs?: number;
  /** What becomes of the state when the VMM comes back (docs/ownership.md); `reset` by default. */
  readonly onReconnect?: OnReconnect;
  /** Offer the device through a v1 migration region instead of by v2. Null, the default: v2. */
  readonly v1?: V1Options | null;
  /** Takes errors that no client can be told. Default: nobody. */
  readonly report?: (error: FerryError) => void;
  /** Takes lines of the log: of the server, of the device's author, and those errors. Default: nobody. */
  readonly log?: LogSink;
  /** How much is logged, if anybody takes it; `info` by default, null: nothing. `debug` tells every command. */
  readonly logLevel?: LogLevel | null;
}
