import { Log } from '../device/index.ts';
import type { FerryError } from '../errors/index.ts';
import type { DeviceServerOptions } from './device-server-options.ts';

/** The log of a server, and where errors go that no client can be told: to its owner and into the log. */
export function serverLog({ log, logLevel = 'info', report }: DeviceServerOptions): {
  readonly log: Log;
  readonly report: (error: FerryError) => void;
} {
  const own = log === undefined ? Log.OFF : new Log(logLevel, log);
  return {
    log: own,
    report: (error) => {
      own.error(() => `${error.message} (${error.code})`);
      report?.(error);
    },
  };
}
