import { isRunning, MigrationState, parseState } from '../states/index.ts';
import { positionOf } from './legality.ts';
import { type Journaled, type Owner, stanceOf } from './owner.ts';
import type { JournalRole } from './record.ts';

/** What has become of one device of the side that asks. */
export type DeviceCondition =
  | { readonly path: string; readonly is: 'there'; readonly state: number }
  /** Its server has ended, or is another one by now (another instance): what was in it is lost. */
  | { readonly path: string; readonly is: 'gone' }
  /** It does not answer, or has not been asked. */
  | { readonly path: string; readonly is: 'unknown' };

/**
 * What to do on one's own side, in this order. Each may be repeated when the one before it was done already.
 * - `journal ...`: append the record, durably, before going on
 * - `release`: give the claims back, so that the devices may run
 * - `run`: all devices to RUNNING_P2P, then all to RUNNING
 * - `retire`: claim and retire the devices, so that they never run
 * - `stop`: all devices to STOP
 * - `load kept state`: into the devices, from what the receiver has kept
 * - `discard`: reset the devices and give the claims back
 */
export type RecoveryAction =
  | 'journal RECOVERED'
  | 'journal ABORT'
  | 'journal RUN'
  | 'journal DONE'
  | 'release'
  | 'run'
  | 'retire'
  | 'stop'
  | 'load kept state'
  | 'discard';

/** What the decision about actions rests on. */
export interface Situation extends Journaled {
  /** The side on which this runs. */
  readonly role: JournalRole;
  readonly devices: readonly DeviceCondition[];
}

/** What is to be done on the side that asks, once it is known who has the device. */
export function actionsFor(situation: Situation, owner: Owner): readonly RecoveryAction[] {
  if (owner === 'in doubt') return [];
  if (situation.role === 'sender')
    return owner === 'source' ? keepAtSource(situation) : leaveSource(situation);
  return owner === 'destination' ? keepAtDestination(situation) : leaveDestination(situation);
}

/** The source has it: it runs on. */
function keepAtSource(situation: Situation): readonly RecoveryAction[] {
  const { sender, devices } = situation;
  const position = sender === null ? null : positionOf('sender', sender);
  if (position === 'START' || mayNeedCopy(situation)) return [];
  if (position === 'ABORT' && devices.every(executes)) return [];
  const decide: readonly RecoveryAction[] =
    position === 'BEGIN' || position === 'FORCED HERE' ? ['journal ABORT'] : [];
  const overrule: readonly RecoveryAction[] =
    position === 'COMMIT' || position === 'DONE' || position === 'FORCED THERE'
      ? ['journal RECOVERED', 'journal ABORT']
      : decide;
  return devices.every(mayBeRun) ? [...overrule, 'release', 'run'] : overrule;
}

/** The destination has it: what is still here must never run. */
function leaveSource({ sender, receiver, devices }: Situation): readonly RecoveryAction[] {
  const position = sender === null ? null : positionOf('sender', sender);
  if (position === 'START' || position === 'DONE') return [];
  const overrule: readonly RecoveryAction[] =
    position === null || position === 'COMMIT' || position === 'FORCED THERE' ? [] : ['journal RECOVERED'];
  const keep: readonly RecoveryAction[] = devices.some(({ is }) => is === 'there') ? ['stop', 'retire'] : [];
  const isOver = receiver !== null && stanceOf('receiver', receiver) === 'mine' && position !== null;
  return [...overrule, ...keep, ...(isOver ? (['journal DONE'] as const) : [])];
}

/** The destination has it: it runs, from what is in its devices or was kept. */
function keepAtDestination({ receiver, devices }: Situation): readonly RecoveryAction[] {
  const position = receiver === null ? null : positionOf('receiver', receiver);
  if (position === 'RUN') return devices.every(mayBeRun) ? ['run', 'journal DONE'] : [];
  if (position !== 'READY' && position !== 'FORCED HERE') return [];
  if (!devices.every(isKnown)) return [];
  const load: readonly RecoveryAction[] = devices.every(isLoaded) ? [] : ['load kept state'];
  return [...load, 'journal RUN', 'run', 'journal DONE'];
}

/** The source has it: what is here is given up, once nothing can make the source need it. */
function leaveDestination({ sender, receiver }: Situation): readonly RecoveryAction[] {
  const position = receiver === null ? null : positionOf('receiver', receiver);
  if (position === 'START') return [];
  if (position === null) return sourceHasDecided(sender) ? ['discard'] : [];
  if (position === 'ABORT') return ['discard'];
  if (position === 'BEGIN' || position === 'FORCED THERE') return ['journal ABORT', 'discard'];
  return sourceHasDecided(sender) && position === 'READY' ? ['journal ABORT', 'discard'] : [];
}

/** Until the source has written ABORT, the copy at the destination may be the only one that is whole. */
function sourceHasDecided(sender: Journaled['sender']): boolean {
  if (sender === null) return false;
  const position = positionOf('sender', sender);
  return position === 'ABORT' || position === 'FORCED HERE';
}

/**
 * The source has lost a device, has decided nothing, and the destination may hold the group's only whole copy: once
 * ABORT is written, the destination gives that up.
 */
export function mayNeedCopy({ sender, receiver, devices }: Situation): boolean {
  if (sender === null || positionOf('sender', sender) !== 'BEGIN' || !devices.some(isLost)) return false;
  return receiver === null || stanceOf('receiver', receiver) === 'waits';
}

/** A device whose state is gone: its server has ended, or it failed, and only a reset leads out of that. */
export function isLost(device: DeviceCondition): boolean {
  return device.is === 'gone' || (device.is === 'there' && device.state === MigrationState.ERROR);
}

function isKnown({ is }: DeviceCondition): boolean {
  return is !== 'unknown';
}

/** A device that is there, not in ERROR: it runs or can be made to. */
function mayBeRun(device: DeviceCondition): boolean {
  return device.is === 'there' && device.state !== MigrationState.ERROR && parseState(device.state) !== null;
}

/** It holds the whole state: loaded, verified, and not run. */
function isLoaded(device: DeviceCondition): boolean {
  return device.is === 'there' && device.state === MigrationState.STOP;
}

/** Whether a device that is there executes. */
export function executes(device: DeviceCondition): boolean {
  const state = device.is === 'there' ? parseState(device.state) : null;
  return state !== null && isRunning(state);
}
