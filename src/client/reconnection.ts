import { Errno } from '../errors/index.ts';
import {
  type Agreement,
  Command,
  ferryReconnection,
  ReconnectionFlag,
  ReconnectionOperation,
  ReconnectionReply,
} from '../protocol/index.ts';
import { ClientError } from './client-error.ts';
import type { Operation } from './operation.ts';

/** What becomes of the state of a device when its VMM comes back (FERRY_RECONNECTION; docs/ownership.md). */
export interface ReconnectionStatus {
  /** What happens when the VMM goes away the next time. */
  readonly policy: 'keep' | 'reset';
  /** The state that is kept now and waits for `continue` or `reset`; null when none is. */
  readonly kept: {
    /** When its VMM went away, in milliseconds since 1970. */
    readonly sinceMs: number;
    /** A VMM has come for it, whose resets are withheld. */
    readonly returned: boolean;
    /** Resets that were not carried out. */
    readonly withheldResets: number;
    /** The configuration space as the VMM left it: BARs, COMMAND and MSI-X control to be written again. */
    readonly configuration: Uint8Array;
  } | null;
  /** Number of the migration state at that moment. */
  readonly state: number;
}

/** `keep` and `reset` choose for the next time; `reset` and `continue` also decide about a state that is kept. */
export type ReconnectionChoice = 'keep' | 'reset' | 'continue';

const OPERATIONS = {
  keep: ReconnectionOperation.KEEP,
  reset: ReconnectionOperation.RESET,
  continue: ReconnectionOperation.CONTINUE,
} as const;

/** Room for the largest configuration space. */
const ARGSZ = ReconnectionReply.size + 4096;

/** Asks how things are (null), or chooses. @throws ClientError, RemoteError EINVAL when there is nothing to continue */
export function* reconnection(
  agreement: Agreement,
  choice: ReconnectionChoice | null,
): Operation<ReconnectionStatus> {
  if (!agreement.reconnection) {
    const message = 'the server does not take FERRY_RECONNECTION: what a VMM resets is reset';
    throw new ClientError('ERR_NOT_NEGOTIATED', message, {}, { errno: Errno.EOPNOTSUPP });
  }
  const operation = choice === null ? ReconnectionOperation.QUERY : OPERATIONS[choice];
  const payload = ferryReconnection.request.encode({ argsz: ARGSZ, flags: 0, operation, reserved: 0 });
  const reply = yield { command: Command.FERRY_RECONNECTION, payload };
  return statusOf(reply.payload());
}

function statusOf(payload: Uint8Array): ReconnectionStatus {
  const { flags, deviceState, since, withheldResets, configuration } =
    ferryReconnection.reply.decode(payload);
  const kept = {
    sinceMs: Number(since),
    returned: (flags & ReconnectionFlag.RETURNED) !== 0,
    withheldResets,
    configuration: configuration.slice(),
  };
  return {
    policy: (flags & ReconnectionFlag.KEEP) === 0 ? 'reset' : 'keep',
    kept: (flags & ReconnectionFlag.KEPT) === 0 ? null : kept,
    state: deviceState,
  };
}
