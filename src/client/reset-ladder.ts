import { Command } from '../protocol/index.ts';
import { MigrationState, RESET_STATE, stateName } from '../states/index.ts';
import { ClientError } from './client-error.ts';
import type { ResetReport } from './descriptions.ts';
import { migrationStateIfKnown, setMigrationState } from './migration-state.ts';
import { MigrationStateError } from './migration-state-error.ts';
import type { Operation } from './operation.ts';
import { RemoteError } from './remote-error.ts';

/**
 * Resets the device and verifies it by reading the state back. The uAPI has DEVICE_RESET lead to RUNNING from anywhere;
 * libvfio-user refuses it in STOP and STOP_COPY, and otherwise leaves the state as it is. So RUNNING is set where the
 * reset did not lead there, and the reset tried again where it was refused.
 */
export function* resetDevice(): Operation<ResetReport> {
  const refusal = yield* tryReset();
  const state = yield* migrationStateIfKnown();
  if (refusal === null && (state === null || state === RESET_STATE)) return { rung: 'reset', state };
  if (state === null) throw failed(state, refusal);
  yield* run(state);
  const secondRefusal = refusal === null ? null : yield* tryReset();
  const reached = yield* migrationStateIfKnown();
  if (secondRefusal !== null || reached !== RESET_STATE) throw failed(reached, secondRefusal);
  return { rung: refusal === null ? 'reset, then running' : 'running, then reset', state: reached };
}

/** DEVICE_RESET: null when the server took it. */
function* tryReset(): Operation<RemoteError | null> {
  try {
    yield { command: Command.DEVICE_RESET, payload: new Uint8Array(0) };
    return null;
  } catch (error) {
    // No other way leads around a claim.
    if (error instanceof RemoteError && !CLAIMED.has(error.code)) return error;
    throw error;
  }
}

const CLAIMED: ReadonlySet<string> = new Set(['ERR_CLAIM_STALE', 'ERR_RETIRED']);

function* run(state: number): Operation<void> {
  try {
    yield* setMigrationState(MigrationState.RUNNING);
  } catch (error) {
    if (error instanceof MigrationStateError) throw failed(error.reached ?? state, error);
    throw error;
  }
}

function failed(state: number | null, cause: unknown): ClientError {
  const now = state === null ? 'its state is unknown' : `it is in ${stateName(state)}`;
  const context = { state: state === null ? null : stateName(state) };
  const message = `the device could not be reset: ${now}`;
  return new ClientError('ERR_RESET_FAILED', message, context, { cause });
}
