import { isRunning, MigrationState } from '../states/index.ts';

/** What a region access meets. */
export interface AccessSituation {
  readonly state: MigrationState;
  /** The control side holds the device. */
  readonly held: boolean;
  /** The hold has lasted longer than a VMM waits. */
  readonly expired: boolean;
  /** The device's state has been taken away, or is not loaded yet. */
  readonly stateElsewhere: boolean;
  /** It is the configuration space. */
  readonly config: boolean;
  readonly write: boolean;
}

/** Carry it out, park it, refuse it for the state (EINVAL), or because nobody waits that long (EBUSY). */
export type AccessVerdict = 'serve' | 'park' | 'refuse' | 'busy';

/** Whether a region may be accessed on the main connection now: the tables of docs/ownership.md as a function. */
export function accessVerdict(situation: AccessSituation): AccessVerdict {
  const { state, held, config, write } = situation;
  if (held) {
    if (config && state === MigrationState.STOP && !situation.stateElsewhere) return 'serve';
    return situation.expired ? 'busy' : 'park';
  }
  if (isRunning(state) || state === MigrationState.STOP) return 'serve';
  if (state === MigrationState.STOP_COPY) return config && !write ? 'serve' : 'refuse';
  return config ? 'serve' : 'refuse';
}
