import { describe, expect, it } from 'vitest';
import {
  type DeviceCondition,
  type JournalEntry,
  type JournalRecord,
  type JournalRole,
  judge,
  judgeByForce,
  mayFollow,
  positionOf,
  SIDE,
  type Situation,
  type Verdict,
} from '../../src/journal/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { ABORT, begin, COMMIT, DONE, forced, READY, RUN } from './support.ts';
import { ask, byForce, entriesOf, next, recover, START, type World } from './verdict-model.ts';

/** Every world that can be reached from the beginning. */
function reachable(more: (world: World) => World[]): World[] {
  const seen = new Map<string, World>();
  const waiting = [START];
  for (let world = waiting.pop(); world !== undefined; world = waiting.pop()) {
    const name = JSON.stringify(world, (_, value) => (typeof value === 'bigint' ? String(value) : value));
    if (seen.has(name)) continue;
    seen.set(name, world);
    waiting.push(...more(world));
  }
  return [...seen.values()];
}

describe('every instant of a migration, with deaths and recoveries anywhere', () => {
  const worlds = reachable(next);

  it('is explored', () => {
    expect(worlds.length).toBeGreaterThan(500);
    expect(worlds.some(({ destinationRan }) => destinationRan)).toBe(true);
    expect(worlds.some(({ sourceResumed }) => sourceResumed)).toBe(true);
  });

  it('has the state running on one side at most, and never on one side after the other', () => {
    for (const world of worlds) {
      expect(
        world.source === 'running' && world.destination === 'running',
        JSON.stringify(world.source),
      ).toBe(false);
      expect(world.sourceResumed && world.destinationRan).toBe(false);
    }
  });

  it('has verdicts on both sides, with whatever can be read, of which one lets its side run at most', () => {
    const readable = [true, false];
    for (const world of worlds) {
      const runs = (role: JournalRole): boolean =>
        readable.some((own) => readable.some((peer) => ask(world, role, own, peer).actions.includes('run')));
      expect(runs('sender') && runs('receiver'), describeWorld(world)).toBe(false);
    }
  });

  it('has an owner as soon as both journals can be read', () => {
    for (const world of worlds) {
      const [source, destination] = [ask(world, 'sender', true, true), ask(world, 'receiver', true, true)];
      expect(source.owner, describeWorld(world)).not.toBe('in doubt');
      expect(destination.owner).toBe(source.owner);
    }
  });

  it('is in doubt with one journal only where the other one decides', () => {
    for (const world of worlds) {
      const alone = ask(world, 'receiver', true, false);
      expect(alone.owner === 'in doubt').toBe(world.receiver.at(-1)?.kind === 'READY');
      expect(ask(world, 'sender', true, false).owner).not.toBe('in doubt');
    }
  });

  it('never names another owner with one journal than with both', () => {
    for (const world of worlds) {
      const { owner } = ask(world, 'sender', true, true);
      for (const [own, peer] of [
        [true, false],
        [false, true],
      ] as const) {
        for (const role of ['sender', 'receiver'] as const)
          expect([owner, 'in doubt']).toContain(ask(world, role, own, peer).owner);
      }
    }
  });

  it('ends: recoveries on both sides leave one that runs, or a state that is said to be lost', () => {
    const stuck = worlds.filter((world) => {
      const order = ['sender', 'receiver', 'sender', 'receiver'] as const;
      const end = order.reduce(recover, { ...world, senderLives: false, receiverLives: false });
      const verdicts = order.map((role) => ask(end, role, true, true));
      const lost = verdicts.some((verdict) => verdict.lost.length > 0);
      // A device that dies before anything has begun is none of the migration's business.
      return !(end.source === 'running' || end.destination === 'running' || lost || end.sender.length === 0);
    });
    expect(stuck.map(describeWorld)).toEqual([]);
  });
});

function describeWorld({ sender, receiver, source, destination }: World): string {
  const kinds = (records: readonly JournalRecord[]) => records.map(({ kind }) => kind).join(' ');
  return `sender: ${kinds(sender)}; receiver: ${kinds(receiver)}; ${source}, ${destination}`;
}

describe('a decision by force, with the other side switched off', () => {
  const worlds = reachable((world) => [...next(world), ...byForce(world)]);

  it('lets one side run at most, and ends the doubt', () => {
    expect(worlds.some(({ fenced, destination }) => fenced === 'sender' && destination === 'running')).toBe(
      true,
    );
    for (const world of worlds) {
      expect(world.source === 'running' && world.destination === 'running').toBe(false);
      if (world.receiver.some(({ kind }) => kind === 'RECOVERED'))
        expect(ask(world, 'receiver', true, false).owner).not.toBe('in doubt');
    }
  });
});

describe('any two journals that can be written', () => {
  const all: Readonly<Record<JournalRole, JournalRecord[]>> = {
    sender: [begin('sender'), COMMIT, DONE, ABORT, forced('source'), forced('destination')],
    receiver: [begin('receiver'), READY, RUN, DONE, ABORT, forced('source'), forced('destination')],
  };
  const late = (record: JournalRecord): JournalRecord => ({ ...record, epoch: 9n });

  /** Every journal of at most so many records. */
  function journalsOf(role: JournalRole, length: number): JournalRecord[][] {
    if (length === 0) return [[]];
    const shorter = journalsOf(role, length - 1);
    const longest = shorter.filter((records) => records.length === length - 1);
    const longer = longest.flatMap((records) =>
      all[role]
        .map(late)
        .filter((record) => mayFollow(role, entriesOf(records), record) === null)
        .map((record) => [...records, record]),
    );
    return [...shorter, ...longer];
  }

  const there = (state: number): DeviceCondition => ({ path: 'd', is: 'there', state });
  const devices: readonly DeviceCondition[] = [
    ...Object.values(MigrationState).map(there),
    there(99),
    { path: 'd', is: 'gone' },
    { path: 'd', is: 'unknown' },
  ];
  const readings = (role: JournalRole) => [...journalsOf(role, 4).map(entriesOf), null];
  const pairs = readings('sender').flatMap((sender) =>
    readings('receiver').map((receiver) => ({ sender, receiver })),
  );

  /** Why the actions can't be carried out at this side; null when they can. */
  function illegal(role: JournalRole, own: readonly JournalEntry[] | null, verdict: Verdict): string | null {
    const kinds = verdict.actions.flatMap((action) => /^journal (.*)$/.exec(action)?.[1] ?? []);
    if (own === null) return kinds.length === 0 ? null : 'there is no journal to write to';
    const records = own.map((entry) => entry.record);
    for (const kind of kinds) {
      const owner = verdict.owner === 'source' ? 'source' : 'destination';
      const record = kind === 'RECOVERED' ? forced(owner) : all[role].find((one) => one.kind === kind);
      const why = record === undefined ? `no ${kind}` : mayFollow(role, entriesOf(records), late(record));
      if (record === undefined || why !== null) return why;
      records.push(late(record));
    }
    return null;
  }

  /** What is wrong with a verdict; null when nothing is. */
  function flaw(situation: Situation, verdict: Verdict): string | null {
    const { role } = situation;
    const { owner, actions, sentences, steps } = { ...verdict, steps: verdict.nextSteps };
    const [device] = situation.devices;
    if (sentences.length === 0) return 'says nothing';
    if (owner === 'in doubt' && (actions.length > 0 || steps.length === 0)) return 'acts in doubt';
    if (actions.includes('run') && owner !== SIDE[role]) return 'runs what is not its own';
    if (actions.includes('run') && device?.is !== 'there' && !actions.includes('load kept state'))
      return 'runs what is not there';
    if (actions.includes('discard') && (role !== 'receiver' || owner !== 'source')) return 'gives up its own';
    return illegal(role, situation[role], verdict);
  }

  const kindsOf = (entries: readonly JournalEntry[] | null) =>
    entries === null ? 'unreadable' : entries.map(({ record }) => record.kind).join(' ');

  it.each(['sender', 'receiver'] as const)('lead to a verdict at the %s that can be carried out', (role) => {
    const flaws = pairs.flatMap((pair) =>
      devices.flatMap((device) => {
        const situation = { role, ...pair, devices: [device] };
        const found = flaw(situation, judge(situation));
        return found === null ? [] : [`${kindsOf(pair.sender)} | ${kindsOf(pair.receiver)}: ${found}`];
      }),
    );
    expect(pairs.length * devices.length).toBeGreaterThan(10_000);
    expect(flaws).toEqual([]);
  });

  it.each(['sender', 'receiver'] as const)('can be overruled by force at the %s', (role) => {
    const flaws = pairs.flatMap((pair) =>
      (['source', 'destination'] as const).flatMap((owner) => {
        const situation = { role, ...pair, devices: [there(MigrationState.STOP)] };
        const own = situation[role];
        if (own !== null && positionOf(role, own) === 'START') return [];
        const verdict = judgeByForce(situation, owner);
        const written = own === null || verdict.actions[0] === 'journal RECOVERED';
        const found = verdict.owner === owner && written ? flaw(situation, verdict) : 'not what was told';
        return found === null ? [] : [`${kindsOf(pair.sender)} | ${kindsOf(pair.receiver)}: ${found}`];
      }),
    );
    expect(flaws).toEqual([]);
  });
});

const deviceAt = (path: string, state: number): DeviceCondition => ({ path, is: 'there', state });
const GONE: DeviceCondition = { path: '/run/a', is: 'gone' };
const { STOP, STOP_COPY, RUNNING } = MigrationState;
const B = begin('sender');
const R = begin('receiver');

describe('the verdict in words', () => {
  const judged = (
    role: JournalRole,
    sender: readonly JournalRecord[] | null,
    receiver: readonly JournalRecord[] | null,
    devices: readonly DeviceCondition[],
  ): Verdict =>
    judge({ role, sender: sender && entriesOf(sender), receiver: receiver && entriesOf(receiver), devices });

  it('before COMMIT: the source goes on alone', () => {
    expect(judged('sender', [B], null, [deviceAt('/run/a', STOP_COPY)])).toMatchObject({
      owner: 'source',
      actions: ['journal ABORT', 'release', 'run'],
      nextSteps: [],
    });
  });

  it('after COMMIT: the source is kept from running, the destination goes on', () => {
    expect(judged('sender', [B, COMMIT], null, [deviceAt('/run/a', STOP_COPY)])).toMatchObject({
      owner: 'destination',
      actions: ['stop', 'retire'],
      nextSteps: ['ferry recover --peer FILE at the destination, FILE being the journal of the source'],
    });
    expect(judged('receiver', [B, COMMIT], [R, READY], [deviceAt('/run/b', STOP)])).toMatchObject({
      owner: 'destination',
      actions: ['journal RUN', 'run', 'journal DONE'],
    });
  });

  it('ready and alone: in doubt, until the other journal is there or a person decides', () => {
    const verdict = judged('receiver', null, [R, READY], [deviceAt('/run/b', STOP)]);
    expect(verdict).toMatchObject({ owner: 'in doubt', actions: [] });
    expect(verdict.nextSteps.join()).toContain('never runs the device again');
    expect(
      judgeByForce(
        {
          role: 'receiver',
          sender: null,
          receiver: entriesOf([R, READY]),
          devices: [deviceAt('/run/b', STOP)],
        },
        'destination',
      ).actions,
    ).toEqual(['journal RECOVERED', 'journal RUN', 'run', 'journal DONE']);
  });

  it('what was kept is loaded again when the device at the destination died before RUN', () => {
    const verdict = judged('receiver', [B, COMMIT], [R, READY], [GONE]);
    expect(verdict).toMatchObject({ lost: [], owner: 'destination' });
    expect(verdict.actions).toEqual(['load kept state', 'journal RUN', 'run', 'journal DONE']);
  });

  it('says that a state is lost, in those words', () => {
    for (const verdict of [
      judged('sender', [B, ABORT], null, [GONE]),
      judged('receiver', [B, COMMIT], [R, READY, RUN], [GONE]),
    ]) {
      expect(verdict.lost).toEqual(['/run/a']);
      expect(verdict.sentences.join()).toContain(
        'The state of /run/a is lost: it existed only in a process that has ended.',
      );
      expect(verdict.actions).not.toContain('run');
    }
  });

  it('keeps the last whole copy: a source that has died writes no ABORT while the destination may be ready', () => {
    const alone = judged('sender', [B], null, [GONE]);
    expect(alone).toMatchObject({ owner: 'source', actions: [] });
    expect(alone.nextSteps.join()).toContain('bring the journal of the destination');
    const both = judged('sender', [B], [R, READY], [GONE]);
    expect(both.actions).toEqual([]);
    expect(both.sentences.join()).toContain('still holds a copy of the whole group');
    expect(judged('sender', [B], [R], [GONE]).actions).toEqual(['journal ABORT']);
    expect(judged('receiver', [B], [R, READY], [deviceAt('/run/b', STOP)])).toMatchObject({
      owner: 'source',
      actions: [],
    });
  });

  it('names a device that runs where it should not', () => {
    const verdict = judged('sender', [B, COMMIT], [R, READY, RUN], [deviceAt('/run/a', RUNNING)]);
    expect(verdict.sentences.join()).toContain(
      '/run/a runs at the source, but the destination has the device',
    );
    expect(verdict.actions).toEqual(['stop', 'retire', 'journal DONE']);
  });

  it('believes neither of two journals that contradict each other', () => {
    for (const [sender, receiver] of [
      [[B], [R, READY, RUN]],
      [
        [B, COMMIT],
        [R, ABORT],
      ],
    ] as const)
      expect(judged('sender', sender, receiver, [])).toMatchObject({ owner: 'in doubt', actions: [] });
  });
});
