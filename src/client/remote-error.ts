import { Errno, errnoName, RefusalError } from '../errors/index.ts';
import { Command, commandName, MAX_ERRNO } from '../protocol/index.ts';

/**
 * - `ERR_REMOTE`: the server answered a command with an errno.
 * - `ERR_SESSION_ABORTED`: ENODEV to a migration command: somebody else has reset the device, the data session is gone.
 * - `ERR_SESSION_BUSY`: EBUSY to a migration command: another connection drives the migration, or another migration has
 *   claimed the device.
 * - `ERR_CLAIM_STALE`: ESTALE: this connection's claim has been taken over or is over.
 * - `ERR_RETIRED`: EKEYREVOKED: the device's state has been handed over, so that it must not run.
 */
export type RemoteErrorCode =
  | 'ERR_REMOTE'
  | 'ERR_SESSION_ABORTED'
  | 'ERR_SESSION_BUSY'
  | 'ERR_CLAIM_STALE'
  | 'ERR_RETIRED';

/** The server answered a command with an errno. */
export class RemoteError extends RefusalError {
  declare readonly code: RemoteErrorCode;
  /** The command's number. */
  readonly command: number;

  /**
   * @param error the header's error field. The text allows 0, and libvfio-user passes on whatever a device returned:
   * what is no errno becomes EIO, the number stays in the context
   */
  constructor(command: number, error: number) {
    const errno = error > 0 && error <= MAX_ERRNO ? error : Errno.EIO;
    const code = codeOf(command, errno);
    super(code, `${commandName(command)}: ${errnoName(errno)}${HINTS[code]}`, {
      errno,
      context: { command: commandName(command), error },
    });
    this.command = command;
  }
}

/** What a code means to people, as the rest of a sentence. */
export const HINTS: Readonly<Record<RemoteErrorCode, string>> = {
  ERR_REMOTE: '',
  ERR_SESSION_ABORTED: ': the device was reset by somebody else, the data session is gone',
  ERR_SESSION_BUSY: ': another connection drives the migration of this device',
  ERR_CLAIM_STALE: ': the claim on the device has been taken over; ferry recover tells who has it',
  ERR_RETIRED: ': the state of the device has been handed over, so that it must not run',
};

/** Commands whose ENODEV and EBUSY speak of the migration session. */
const SESSION_COMMANDS: ReadonlySet<number> = new Set([
  Command.DEVICE_FEATURE,
  Command.MIG_DATA_READ,
  Command.MIG_DATA_WRITE,
  Command.FERRY_PRECOPY_INFO,
]);

/** What servers of ours say of a device that a migration has claimed. Nobody else uses these. */
const CLAIM_CODES: ReadonlyMap<number, RemoteErrorCode> = new Map([
  [Errno.ESTALE, 'ERR_CLAIM_STALE'],
  [Errno.EKEYREVOKED, 'ERR_RETIRED'],
]);

function codeOf(command: number, errno: number): RemoteErrorCode {
  const claimed = CLAIM_CODES.get(errno);
  if (claimed !== undefined) return claimed;
  if (!SESSION_COMMANDS.has(command)) return 'ERR_REMOTE';
  if (errno === Errno.ENODEV) return 'ERR_SESSION_ABORTED';
  return errno === Errno.EBUSY ? 'ERR_SESSION_BUSY' : 'ERR_REMOTE';
}
