import { FerryError } from '../../errors/index.ts';
import { ArcError, isRunning, MigrationFlag, MigrationState, V1State } from '../../states/index.ts';
import type { MigrationSession } from '../migration-session.ts';
import { inTurn, otherwise } from './in-turn.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY, RUNNING_P2P, PRE_COPY_P2P } = MigrationState;

/** The v1 states by those of v2. P2P can't be expressed: such a device runs. */
const V1_OF: Readonly<Record<MigrationState, V1State>> = {
  [MigrationState.ERROR]: V1State.ERROR,
  [STOP]: V1State.STOP,
  [RUNNING]: V1State.RUNNING,
  [STOP_COPY]: V1State.STOP_COPY,
  [RESUMING]: V1State.RESUMING,
  [RUNNING_P2P]: V1State.RUNNING,
  [PRE_COPY]: V1State.PRE_COPY,
  [PRE_COPY_P2P]: V1State.PRE_COPY,
};

/** What device_state shows of a v2 state. */
export function v1StateOf(state: MigrationState): V1State {
  return V1_OF[state];
}

/**
 * The states of v2 to go to, one after the other, for a change of device_state. A device without PRE_COPY just runs in
 * pre-copy. From stop-and-copy to pre-copy v2 has no way within one session, so that one is ended in between.
 */
export function v2Targets(flags: number, from: MigrationState, to: V1State): readonly MigrationState[] {
  switch (to) {
    case V1State.STOP:
      return [STOP];
    case V1State.RUNNING:
      return [RUNNING];
    case V1State.STOP_COPY:
      return [STOP_COPY];
    case V1State.RESUMING:
      return [RESUMING];
    case V1State.PRE_COPY:
      if ((flags & MigrationFlag.PRE_COPY) === 0) return [RUNNING];
      return from === STOP_COPY ? [RUNNING, PRE_COPY] : [PRE_COPY];
    case V1State.ERROR:
      return [];
  }
}

/** Takes the device to a state of v2 in bounded time, as DeviceServer.setState does. */
export type SetState<Party> = (target: MigrationState, by: Party) => void | Promise<void>;

/**
 * Carries out a change of device_state. When the device fails on the way it goes back to where it was, as
 * linux/vfio.h asks for ("the vendor driver should return previous state of the device"); should that fail as well,
 * it stays where it is, and in ERROR if v1 has no name for that. Two failures are different: a state that can't be
 * deserialized leads to ERROR, and one that has been is not thrown away: the device stays stopped, with it.
 */
export function changeState<Party extends object>(
  session: MigrationSession<Party>,
  setState: SetState<Party>,
  targets: readonly MigrationState[],
  by: Party,
): void | Promise<void> {
  const before = session.state;
  return otherwise(
    () => inTurn(targets, (target) => setState(target, by)),
    (error) => recover(session, setState, { before, by, error }),
  );
}

interface Failure<Party> {
  readonly before: MigrationState;
  readonly by: Party;
  readonly error: unknown;
}

/** Brings the device to rest after a failure, which is then thrown. */
function recover<Party extends object>(
  session: MigrationSession<Party>,
  setState: SetState<Party>,
  { before, by, error }: Failure<Party>,
): void | Promise<void> {
  // Anything else was refused before the device was asked, was ended by a reset, or is still under way.
  if (!(error instanceof ArcError)) throw error;
  if (session.state === RESUMING) session.failed(error);
  if (session.state === before || session.state === MigrationState.ERROR) throw error;
  const rest = before === RESUMING ? STOP : before;
  const settled = otherwise(
    () => setState(rest, by),
    (second) => settleThere(session, second),
  );
  if (settled === undefined) throw error;
  return settled.then(() => {
    throw error;
  });
}

function settleThere(session: MigrationSession<object>, error: unknown): void {
  const { state } = session;
  const nameless = isRunning(state) && state !== RUNNING && state !== PRE_COPY;
  if (nameless && !session.inTransition && error instanceof FerryError) session.failed(error);
}
