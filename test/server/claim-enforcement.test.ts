import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { ClaimDesk } from '../../src/server/claim-desk.ts';
import {
  type Asker,
  CLAIM_RULES,
  type ClaimedOperation,
  type Standing,
} from '../../src/server/claim-rules.ts';
import { Claims } from '../../src/server/claims.ts';
import { MigrationSession } from '../../src/server/migration-session.ts';
import { isRunning, MigrationState, stateName } from '../../src/states/index.ts';
import { fields, type RawClient } from '../helpers/raw-client.ts';
import { serveForTest } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { claim } from './claim-driver.ts';
import { readData, setState, writeData } from './migration-driver.ts';
import { outcomeOf, Party } from './migration-parties.ts';
import { EVERYTHING } from './ownership-world.ts';
import { ScriptedMigration } from './scripted-migration.ts';

const { RUNNING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, STOP, STOP_COPY, RESUMING } = MigrationState;
const STATES = [RUNNING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, STOP, STOP_COPY, RESUMING] as const;

const T = new Uint8Array(16).fill(1);

/** A session whose device may be claimed, and whoever asks. */
class World {
  readonly claims = new Claims<Party>();
  readonly device = new ScriptedMigration(7);
  readonly holder = new Party('holder');
  readonly late = new Party('late');
  readonly other = new Party('other');
  readonly session = new MigrationSession<Party>(
    this.device,
    { departs: () => {}, arc: () => {}, settled: () => {} },
    this.claims,
  );
  readonly desk = new ClaimDesk(this.claims, this.session, () => {});

  /** Brings the device to a state, with claims or without any; who brought it there has gone unless `attended`. */
  arrange({ standing, state, attended }: Case, claimed: boolean): this {
    if (claimed) {
      this.desk.claim(T, 1n, this.late);
      this.desk.claim(T, 2n, this.holder);
    }
    if (state !== RUNNING) this.session.set(state, this.holder);
    if (claimed && standing === 'retired') this.desk.retire(T, 2n, this.holder);
    if (claimed && standing === 'free') this.desk.release(T, 2n, this.holder);
    if (attended) return this;
    this.session.leave(this.holder);
    this.desk.leave(this.holder);
    return this;
  }

  /** What a reset by the control side does. */
  reset(by: Party): void {
    this.session.requireMay('reset', by);
    this.session.resetBegins(by);
    this.device.reset();
    this.session.wasReset();
  }
}

const kinds = new Map<MigrationState, ClaimedOperation>([
  [STOP, 'stop'],
  [STOP_COPY, 'stop'],
  [RESUMING, 'resume'],
]);
const one = new Uint8Array(1);

/** Everything that a claim decides about. */
const attempts: readonly (readonly [string, ClaimedOperation, (world: World, by: Party) => unknown])[] = [
  ...STATES.map(
    (state) =>
      [
        `SET ${stateName(state)}`,
        kinds.get(state) ?? 'run',
        ({ session }: World, by: Party) => session.set(state, by),
      ] as const,
  ),
  ['MIG_DATA_READ', 'read data', ({ session }, by) => session.read(one, by)],
  ['MIG_DATA_READ, lent', 'read data', ({ session }, by) => session.view(1, by)],
  ['FERRY_PRECOPY_INFO', 'read data', ({ session }, by) => session.precopyInfo(by)],
  ['a read of the v1 region', 'read data', ({ session }, by) => session.requireSession('saving', by)],
  ['MIG_DATA_WRITE', 'write data', ({ session }, by) => session.write(one, by)],
  ['a write of the v1 region', 'write data', ({ session }, by) => session.requireSession('resuming', by)],
  ['DEVICE_RESET', 'reset', (world, by) => world.reset(by)],
];

interface Case {
  readonly standing: Standing;
  readonly asker: Asker;
  readonly state: MigrationState;
  /** Whoever brought the device to this state is still there. */
  readonly attended: boolean;
}

const cases: readonly Case[] = (['free', 'claimed', 'retired'] as const).flatMap((standing) =>
  (['holder', 'late', 'other'] as const).flatMap((asker) =>
    (standing === 'retired' ? ([STOP, STOP_COPY] as const) : STATES).flatMap((state) =>
      [true, false]
        .filter((attended) => asker !== 'holder' || (attended && standing !== 'free'))
        .map((attended) => ({ standing, asker, state, attended })),
    ),
  ),
);

const refusals = { ERR_CLAIMED: 'EBUSY', ERR_CLAIM_STALE: 'ESTALE', ERR_RETIRED: 'EKEYREVOKED' } as const;

describe.each(cases)('$standing, in state $state, attended: $attended, asked by $asker', (situation) => {
  const { standing, asker, state } = situation;

  it.each(attempts)('%s: as the rules say, or else as if nobody had claimed', (_, operation, ask) => {
    const world = new World().arrange(situation, true);
    const verdict = CLAIM_RULES[standing][asker][operation];
    const outcome = outcomeOf(() => ask(world, world[asker]));
    if (verdict === 'yes') {
      const twin = new World().arrange(situation, false);
      expect(outcome).toBe(outcomeOf(() => ask(twin, twin[asker])));
      expect(world.session.state).toBe(twin.session.state);
    } else {
      expect(outcome).toBe(refusals[verdict]);
      expect(world.session.state).toBe(state);
    }
    if (standing === 'retired') expect(isRunning(world.session.state)).toBe(false);
  });
});

describe('in the middle of a change of state', () => {
  it('a claim that takes over lets the late holder go no further', async () => {
    const { session, desk, device, late, holder } = new World();
    desk.claim(T, 1n, late);
    session.set(STOP, late);
    device.outcomes = ['wait'];
    const running = Promise.resolve(session.set(RUNNING, late));
    desk.claim(T, 2n, holder);
    expect(
      outcomeOf(() => desk.retire(T, 2n, holder)),
      'it might still run',
    ).toBe('EBUSY');
    device.settle('ok');
    await expect(running).rejects.toMatchObject({ errno: Errno.ESTALE });
    expect(session.state).toBe(RUNNING_P2P);
    expect(
      outcomeOf(() => session.set(STOP, holder)),
      'the new holder goes on from there',
    ).toBe('ok');
    expect(outcomeOf(() => desk.retire(T, 2n, holder))).toBe('ok');
  });

  it('nothing is retired while a reset is under way', () => {
    const { session, desk, holder, other } = new World();
    desk.claim(T, 1n, holder);
    session.set(STOP, holder);
    session.resetBegins(other);
    expect(outcomeOf(() => desk.retire(T, 1n, holder))).toBe('EBUSY');
    session.wasReset();
    expect(outcomeOf(() => desk.retire(T, 1n, holder))).toBe('EINVAL');
  });
});

describe('a reset by the VMM that the holder has not noticed', () => {
  const stopped: readonly MigrationState[] = [RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, STOP, STOP_COPY, RESUMING];

  it.each(stopped)('in %i: nothing that it sets next takes effect', (state) => {
    for (const target of STATES) {
      const { session, desk, device, holder, other } = new World();
      desk.claim(T, 1n, holder);
      session.set(state, holder);
      session.resetBegins(other);
      device.reset();
      session.wasReset();
      expect(
        outcomeOf(() => session.set(target, holder)),
        stateName(target),
      ).toBe('ENODEV');
      expect(session.report(holder)).toBe(RUNNING);
      expect(
        outcomeOf(() => session.set(RUNNING, holder)),
        'known by now',
      ).toBe('ok');
    }
  });

  it('is one also for the connection that has taken over what another had stopped', () => {
    const { session, desk, device, late, holder, other } = new World();
    desk.claim(T, 1n, late);
    session.set(STOP, late);
    desk.claim(T, 2n, holder);
    session.resetBegins(other);
    device.reset();
    session.wasReset();
    expect(outcomeOf(() => session.set(RUNNING_P2P, holder))).toBe('ENODEV');
  });
});

describe('over the sockets', () => {
  const operations: readonly (readonly [ClaimedOperation, (client: RawClient) => Promise<number>])[] = [
    ['run', (client) => setState(client, RUNNING)],
    ['stop', (client) => setState(client, STOP)],
    ['resume', (client) => setState(client, RESUMING)],
    ['read data', async (client) => (await readData(client, 100)).error],
    ['read data', async (client) => (await client.request(0xfe01, fields(24, 0))).error],
    ['write data', (client) => writeData(client, Buffer.alloc(0))],
    ['reset', async (client) => (await client.request(13)).error],
  ];
  const askers = { late: 'late', stranger: 'other', main: 'other', holder: 'holder' } as const;

  it.each(['claimed', 'retired'] as const)('it is the same: %s', async (standing) => {
    const served = serveForTest(new TestDevice());
    try {
      const [late, holder] = [await served.control(EVERYTHING), await served.control(EVERYTHING)];
      const stranger = await served.control(EVERYTHING);
      const clients = { late, stranger, main: await served.main(EVERYTHING), holder };
      await claim(late, 'claim', 1n);
      await claim(holder, 'claim', 2n);
      await setState(holder, STOP_COPY);
      if (standing === 'retired') await claim(holder, 'retire', 2n);
      for (const who of ['late', 'stranger', 'main', 'holder'] as const) {
        for (const [operation, ask] of operations) {
          const verdict = CLAIM_RULES[standing][askers[who]][operation];
          // A VMM's reset parks: what happens to it has a table of its own.
          if (verdict === 'yes' || (who === 'main' && operation === 'reset')) continue;
          expect(await ask(clients[who]), `${who}: ${operation}`).toBe(Errno[refusals[verdict]]);
          expect(served.server.migration.state).toBe(STOP_COPY);
        }
        expect((await clients[who].request(16, fields(16, 0x1_0002))).error, 'the state').toBe(0);
        expect((await clients[who].request(0xfe02, fields(1 << 20, 0))).error, 'inspect').toBe(0);
      }
    } finally {
      served.close();
    }
  });

  it('FERRY_CLAIM belongs on the control socket, and to those who agreed on it', async () => {
    const served = serveForTest(new TestDevice());
    try {
      const request = fields(56, 0, 1, 0, 1n, Buffer.alloc(16));
      expect((await (await served.main(EVERYTHING)).request(0xfe03, request)).error).toBe(Errno.EPERM);
      const without = await served.control(EVERYTHING.replace(',"claim":true', ''));
      expect((await without.request(0xfe03, request)).error).toBe(Errno.EINVAL);
    } finally {
      served.close();
    }
  });
});
