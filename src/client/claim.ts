import { Errno } from '../errors/index.ts';
import {
  type Agreement,
  ClaimFlag,
  ClaimOperation,
  ClaimReply,
  ClaimRequestFlag,
  Command,
  ferryClaim,
  toHalves,
} from '../protocol/index.ts';
import { ClaimError, type ClaimErrorCode } from './claim-error.ts';
import type { ClaimStatus } from './claim-status.ts';
import { ClientError } from './client-error.ts';
import type { Operation } from './operation.ts';
import { RemoteError } from './remote-error.ts';

const NO_TOKEN = { tokenLow: 0n, tokenHigh: 0n };

interface ClaimCommand {
  readonly operation: ClaimOperation;
  readonly flags: number;
  readonly epoch: bigint;
  readonly tokenLow: bigint;
  readonly tokenHigh: bigint;
}

const QUERY: ClaimCommand = { operation: ClaimOperation.QUERY, flags: 0, epoch: 0n, ...NO_TOKEN };

/** Whose the device is; null, and nothing is sent, to a server that has no claims. */
export function* claimStatus(agreement: Agreement): Operation<ClaimStatus | null> {
  return agreement.claim ? yield* ask(QUERY) : null;
}

/** Claims, retires or releases the device with a token of 16 bytes. @throws ClaimError, ClientError */
export function* claimWith(
  agreement: Agreement,
  operation: 'CLAIM' | 'RETIRE' | 'RELEASE',
  token: Uint8Array,
  epoch: bigint,
): Operation<ClaimStatus> {
  const { low, high } = toHalves(token);
  const request = {
    operation: ClaimOperation[operation],
    flags: 0,
    epoch,
    tokenLow: low,
    tokenHigh: high,
  };
  return yield* change(agreement, operation, request);
}

/** Takes the device from whoever has it. `epoch` has to be higher than its. @throws ClaimError, ClientError */
export function* forceRelease(agreement: Agreement, epoch: bigint): Operation<ClaimStatus> {
  const { RELEASE } = ClaimOperation;
  const request = { operation: RELEASE, flags: ClaimRequestFlag.FORCE, epoch, ...NO_TOKEN };
  return yield* change(agreement, 'forced RELEASE', request);
}

function* change(agreement: Agreement, what: string, request: ClaimCommand): Operation<ClaimStatus> {
  if (!agreement.claim) {
    throw new ClientError('ERR_NOT_NEGOTIATED', 'the server does not take FERRY_CLAIM: it has no claims');
  }
  try {
    return yield* ask(request);
  } catch (error) {
    if (!(error instanceof RemoteError)) throw error;
    throw new ClaimError(what, CODES.get(error.errno) ?? 'ERR_CLAIM_REFUSED', yield* statusIfKnown(), error);
  }
}

const CODES: ReadonlyMap<number, ClaimErrorCode> = new Map([
  [Errno.EBUSY, 'ERR_CLAIMED'],
  [Errno.ESTALE, 'ERR_CLAIM_STALE'],
  [Errno.EINVAL, 'ERR_CLAIM_STATE'],
]);

function* statusIfKnown(): Operation<ClaimStatus | null> {
  try {
    return yield* ask(QUERY);
  } catch (error) {
    if (error instanceof RemoteError) return null;
    throw error;
  }
}

function* ask(request: ClaimCommand): Operation<ClaimStatus> {
  const payload = ferryClaim.request.encode({ argsz: ClaimReply.size, reserved: 0, ...request });
  const reply = yield { command: Command.FERRY_CLAIM, payload };
  const { flags, deviceState, since, ...rest } = ferryClaim.reply.decode(reply.payload());
  return {
    claimed: (flags & ClaimFlag.CLAIMED) !== 0,
    mine: (flags & ClaimFlag.YOURS) !== 0,
    retired: (flags & ClaimFlag.RETIRED) !== 0,
    epoch: rest.epoch,
    id: rest.id,
    sinceMs: Number(since),
    state: deviceState,
    instance: rest.instance,
    resets: rest.resets,
  };
}
