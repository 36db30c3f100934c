import { Errno } from '../errors/index.ts';
import { type MigrationState, parseState, stateName } from '../states/index.ts';
import { ServerError } from './server-error.ts';

/** @throws ServerError EINVAL (linux vfio_main.c) for a number that no state has */
export function knownState(target: number): MigrationState {
  const state = parseState(target);
  if (state === null)
    throw new ServerError('ERR_BAD_RANGE', `${target} is no migration state`, { state: target });
  return state;
}

/** EBUSY: somebody else is at work. */
export function drivenByAnother(state: MigrationState): ServerError {
  return new ServerError('ERR_BUSY', 'another connection drives the migration of this device', {
    state: stateName(state),
  });
}

/** EBUSY: it has to end first. */
export function underWay(what: string, state: MigrationState): ServerError {
  return new ServerError('ERR_BUSY', `${what} is under way`, { state: stateName(state) });
}

/** EINVAL: not in this state. */
export function wrongState(what: string, state: MigrationState): ServerError {
  return new ServerError('ERR_WRONG_STATE', `there is no ${what} in ${stateName(state)}`, {
    state: stateName(state),
  });
}

/** ENODEV: what the session was about is gone. */
export function sessionAborted(): ServerError {
  const message = 'the device was reset by another connection, which ended this data session';
  return new ServerError('ERR_SESSION_ABORTED', message, {}, { errno: Errno.ENODEV });
}
