import {
  type DeviceCondition,
  type JournalEntry,
  type JournalRecord,
  type JournalRole,
  judge,
  judgeByForce,
  mayFollow,
  type RecoveryAction,
  type Verdict,
} from '../../src/journal/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { ABORT, begin, COMMIT, DONE, forced, READY, RUN } from './support.ts';

/** Where the state is at the source; `gone`: its server was killed. */
type SourceDevice = 'running' | 'stopped' | 'gone';
/** The destination's: nothing of the migration, the whole state, running with it; `gone`: killed. */
type DestinationDevice = 'empty' | 'loaded' | 'running' | 'gone';

/** A migration as it may be at some instant: what is durable, what is in devices, who lives. */
export interface World {
  readonly sender: readonly JournalRecord[];
  readonly receiver: readonly JournalRecord[];
  readonly senderLives: boolean;
  readonly receiverLives: boolean;
  readonly source: SourceDevice;
  readonly destination: DestinationDevice;
  /** The receiver has kept what it received. */
  readonly kept: boolean;
  /** The source has run again after it had stopped. */
  readonly sourceResumed: boolean;
  readonly destinationRan: boolean;
  /** The side that a person has switched off for good. */
  readonly fenced: JournalRole | null;
}

export const START: World = {
  ...{ sender: [], receiver: [], senderLives: true, receiverLives: true },
  ...{ source: 'running', destination: 'empty', kept: false },
  ...{ sourceResumed: false, destinationRan: false, fenced: null },
};

const has = (records: readonly JournalRecord[], kind: JournalRecord['kind']): boolean =>
  records.some((record) => record.kind === kind);
const last = (records: readonly JournalRecord[]) => records.at(-1)?.kind ?? null;

/** Entries of a journal with these records. */
export const entriesOf = (records: readonly JournalRecord[]): JournalEntry[] =>
  records.map((record, sequence) => ({ sequence, atMs: 0, record }));

/** What may happen next, all of it: steps of the protocol, deaths, recoveries of which any part is carried out. */
export function next(world: World): World[] {
  return [...steps(world), ...deaths(world), ...recoveries(world)];
}

function steps(world: World): World[] {
  const found: World[] = [];
  const { sender, receiver, source, destination } = world;
  const talk = world.senderLives && world.receiverLives && world.fenced === null;
  if (world.senderLives) {
    if (sender.length === 0) found.push({ ...world, sender: [begin('sender')] });
    if (last(sender) === 'BEGIN') {
      found.push({ ...world, sender: [...sender, ABORT] });
      if (talk && has(receiver, 'BEGIN') && source === 'running') found.push({ ...world, source: 'stopped' });
      if (talk && last(receiver) === 'READY' && source === 'stopped')
        found.push({ ...world, sender: [...sender, COMMIT] });
    }
    if (last(sender) === 'ABORT' && source === 'stopped') found.push(resumed(world));
    if (last(sender) === 'COMMIT' && talk && destination === 'running')
      found.push({ ...world, sender: [...sender, DONE] });
  }
  if (world.receiverLives) found.push(...receiverSteps(world, talk));
  return found;
}

function receiverSteps(world: World, talk: boolean): World[] {
  const { sender, receiver, source, destination } = world;
  const found: World[] = [];
  if (receiver.length === 0) found.push({ ...world, receiver: [begin('receiver')] });
  if (last(receiver) === 'BEGIN') {
    found.push({ ...world, receiver: [...receiver, ABORT], destination: emptied(destination), kept: false });
    if (talk && source === 'stopped' && destination === 'empty' && last(sender) === 'BEGIN')
      found.push({ ...world, destination: 'loaded', kept: true });
    if (destination === 'loaded') found.push({ ...world, receiver: [...receiver, READY] });
  }
  if (last(receiver) === 'READY' && talk) {
    if (last(sender) === 'ABORT')
      found.push({
        ...world,
        receiver: [...receiver, ABORT],
        destination: emptied(destination),
        kept: false,
      });
    if (last(sender) === 'COMMIT') found.push({ ...world, receiver: [...receiver, RUN] });
  }
  if (last(receiver) === 'RUN' && destination === 'loaded') found.push(ran(world));
  if (last(receiver) === 'RUN' && destination === 'running')
    found.push({ ...world, receiver: [...receiver, DONE] });
  return found;
}

function deaths(world: World): World[] {
  const found: World[] = [];
  if (world.senderLives) found.push({ ...world, senderLives: false });
  if (world.receiverLives) found.push({ ...world, receiverLives: false });
  if (world.source !== 'gone') found.push({ ...world, source: 'gone' });
  if (world.destination !== 'gone') found.push({ ...world, destination: 'gone' });
  return found;
}

const READABLE = [true, false] as const;

/** A recovery where the engine is dead: with or without each journal, and it may itself die after any action. */
function recoveries(world: World): World[] {
  return (['sender', 'receiver'] as const).flatMap((role) => {
    const lives = role === 'sender' ? world.senderLives : world.receiverLives;
    if (lives || world.fenced === role) return [];
    return READABLE.flatMap((own) =>
      READABLE.flatMap((peer) => {
        const verdict = ask(world, role, own, peer);
        return prefixes(verdict.actions).map((actions) => carryOut(world, role, actions));
      }),
    );
  });
}

/** The world after the recovery of a side, with both journals, has been carried out to its end. */
export function recover(world: World, role: JournalRole): World {
  return carryOut(world, role, ask(world, role, true, true).actions);
}

/** A person decides, and switches the other side off for good. */
export function byForce(world: World): World[] {
  if (world.fenced !== null || world.senderLives || world.receiverLives) return [];
  return (['sender', 'receiver'] as const).flatMap((role) => {
    if (ask(world, role, true, false).owner !== 'in doubt') return [];
    const owner = role === 'sender' ? 'source' : 'destination';
    const fenced = role === 'sender' ? 'receiver' : 'sender';
    const off = fenced === 'sender' ? { source: 'gone' as const } : { destination: 'gone' as const };
    const { actions } = judgeByForce(situation(world, role, true, false), owner);
    return prefixes(actions).map((some) => carryOut({ ...world, fenced, ...off }, role, some, owner));
  });
}

/** The verdict at a side, with the journals that can be read. */
export function ask(world: World, role: JournalRole, own: boolean, peer: boolean): Verdict {
  return judge(situation(world, role, own, peer));
}

function situation(world: World, role: JournalRole, own: boolean, peer: boolean) {
  const readable = (of: JournalRole): boolean => (of === role ? own : peer);
  return {
    role,
    sender: readable('sender') ? entriesOf(world.sender) : null,
    receiver: readable('receiver') ? entriesOf(world.receiver) : null,
    devices: [conditionOf(world, role)],
  };
}

const STATES = {
  running: MigrationState.RUNNING,
  stopped: MigrationState.STOP_COPY,
  loaded: MigrationState.STOP,
  empty: MigrationState.RUNNING,
} as const;

function conditionOf(world: World, role: JournalRole): DeviceCondition {
  const device = role === 'sender' ? world.source : world.destination;
  return device === 'gone' ? { path: 'd', is: 'gone' } : { path: 'd', is: 'there', state: STATES[device] };
}

function prefixes<T>(list: readonly T[]): T[][] {
  return list.map((_, i) => list.slice(0, i + 1));
}

const RECORDS: Partial<Record<RecoveryAction, JournalRecord>> = {
  'journal ABORT': { ...ABORT, epoch: 2n },
  'journal RUN': { ...RUN, epoch: 2n },
  'journal DONE': { ...DONE, epoch: 2n },
};

function carryOut(
  world: World,
  role: JournalRole,
  actions: readonly RecoveryAction[],
  owner: 'source' | 'destination' = role === 'sender' ? 'source' : 'destination',
): World {
  return actions.reduce((now, action) => perform(now, role, action, owner), world);
}

function perform(
  world: World,
  role: JournalRole,
  action: RecoveryAction,
  owner: 'source' | 'destination',
): World {
  const record = action === 'journal RECOVERED' ? forced(owner) : RECORDS[action];
  if (record !== undefined) return append(world, role, record);
  switch (action) {
    case 'run':
      return role === 'sender' ? resumed(world) : ran(world);
    case 'stop':
      return world.source === 'running' ? { ...world, source: 'stopped' } : world;
    case 'load kept state':
      return world.kept ? { ...world, destination: 'loaded' } : world;
    case 'discard':
      return discarded(world);
    default:
      return world;
  }
}

function append(world: World, role: JournalRole, record: JournalRecord): World {
  const records = world[role];
  const why = mayFollow(role, entriesOf(records), record);
  if (why !== null) throw new Error(`${role}, ${records.map(({ kind }) => kind)}: ${why}`);
  return { ...world, [role]: [...records, record] };
}

function resumed(world: World): World {
  return world.source === 'stopped' ? { ...world, source: 'running', sourceResumed: true } : world;
}

function ran(world: World): World {
  return world.destination === 'loaded'
    ? { ...world, destination: 'running', destinationRan: true, kept: false }
    : world;
}

function discarded(world: World): World {
  const promised = has(world.receiver, 'READY') && last(world.sender) === 'BEGIN';
  if (world.source === 'gone' && world.fenced === null && promised)
    throw new Error('the only whole copy was given up before the source had decided anything');
  return { ...world, destination: emptied(world.destination), kept: false };
}

function emptied(device: DestinationDevice): DestinationDevice {
  return device === 'gone' ? device : 'empty';
}
