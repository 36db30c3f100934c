import { afterEach, describe, expect, it } from 'vitest';
import { Errno, errnoName } from '../../src/errors/index.ts';
import {
  type Asker,
  CLAIM_RULES,
  type ClaimedOperation,
  type Standing,
} from '../../src/server/claim-rules.ts';
import { isRunning, MigrationState, stateName } from '../../src/states/index.ts';
import { fields, type RawClient } from '../helpers/raw-client.ts';
import { claim } from './claim-driver.ts';
import { readData, setState, writeData } from './migration-driver.ts';
import { EVERYTHING, World } from './ownership-world.ts';

const { RUNNING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, STOP, STOP_COPY, RESUMING } = MigrationState;

const worlds: World[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.close();
});

/** What is asked for: the errno of the answer. */
interface Attempt {
  readonly name: string;
  readonly operation: ClaimedOperation;
  readonly ask: (client: RawClient) => Promise<number>;
}

const stateKind: Readonly<Record<string, ClaimedOperation>> = {
  [RUNNING]: 'run',
  [RUNNING_P2P]: 'run',
  [PRE_COPY]: 'run',
  [PRE_COPY_P2P]: 'run',
  [STOP]: 'stop',
  [STOP_COPY]: 'stop',
  [RESUMING]: 'resume',
};

const attempts: readonly Attempt[] = [
  ...[RUNNING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, STOP, STOP_COPY, RESUMING].map((state) => ({
    name: `SET ${stateName(state)}`,
    operation: stateKind[state] ?? 'run',
    ask: (client: RawClient) => setState(client, state),
  })),
  {
    name: 'MIG_DATA_READ',
    operation: 'read data',
    ask: async (client) => (await readData(client, 100)).error,
  },
  {
    name: 'FERRY_PRECOPY_INFO',
    operation: 'read data',
    ask: async (client) => (await client.request(0xfe01, fields(24, 0))).error,
  },
  { name: 'MIG_DATA_WRITE', operation: 'write data', ask: (client) => writeData(client, Buffer.alloc(0)) },
  { name: 'DEVICE_RESET', operation: 'reset', ask: async (client) => (await client.request(13)).error },
];

/** Who asks on a connection of the world; whoever else has claimed is still connected, or gone. */
type Who = 'holder' | 'late' | 'other controller' | 'main';
const askerOf: Readonly<Record<Who, Asker>> = {
  holder: 'holder',
  late: 'late',
  'other controller': 'other',
  main: 'other',
};

interface Case {
  readonly standing: Standing;
  readonly who: Who;
  readonly state: MigrationState;
  /** The controller that brought the device to this state is still there. */
  readonly attended: boolean;
}

const statesOf = (standing: Standing): readonly MigrationState[] =>
  standing === 'retired'
    ? [STOP, STOP_COPY]
    : [RUNNING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, STOP, STOP_COPY, RESUMING];

const cases: readonly Case[] = (['free', 'claimed', 'retired'] as const).flatMap((standing) =>
  (['holder', 'late', 'other controller', 'main'] as const).flatMap((who) =>
    statesOf(standing).flatMap((state) =>
      [true, false]
        .filter((attended) => (who === 'holder' ? attended && standing !== 'free' : true))
        .map((attended) => ({ standing, who, state, attended })),
    ),
  ),
);

/** The same situation with claims or without any: then only the session and the states decide. */
async function arrange({ standing, who, state, attended }: Case, claims: boolean) {
  const world = await World.open();
  worlds.push(world);
  const [late, other] = [await world.served.control(EVERYTHING), await world.served.control(EVERYTHING)];
  if (claims) {
    await claim(late, 'claim', 1n);
    await claim(world.control, 'claim', 2n);
  }
  if (state !== RUNNING) await world.set(state);
  if (claims && standing === 'retired') await claim(world.control, 'retire', 2n);
  if (claims && standing === 'free') await claim(world.control, 'release', 2n);
  const clients = { holder: world.control, late, 'other controller': other, main: world.main };
  if (!attended) {
    world.control.close();
    while (world.server.controls > 2) await new Promise((resolve) => setImmediate(resolve));
  }
  return { world, client: clients[who] };
}

const refusals = { ERR_CLAIMED: 'EBUSY', ERR_CLAIM_STALE: 'ESTALE', ERR_RETIRED: 'EKEYREVOKED' } as const;

describe.each(cases)('$standing, in state $state, attended: $attended, asked by $who', (one) => {
  it('answers as the rules say, and otherwise as if nobody had claimed the device', async () => {
    const answers: Record<string, string> = {};
    const expected: Record<string, string> = {};
    for (const { name, operation, ask } of attempts) {
      // A VMM's reset waits for the end of a hold: its own table says when.
      if (one.who === 'main' && operation === 'reset') continue;
      const { world, client } = await arrange(one, true);
      const before = world.server.migration.state;
      answers[name] = errnoName(await ask(client));
      const verdict = CLAIM_RULES[one.standing][askerOf[one.who]][operation];
      if (verdict === 'yes') {
        const twin = await arrange(one, false);
        expected[name] = errnoName(await ask(twin.client));
      } else {
        expected[name] = refusals[verdict];
        expect(world.server.migration.state, `${name} has changed nothing`).toBe(before);
      }
      if (one.standing === 'retired') expect(isRunning(world.server.migration.state), name).toBe(false);
      for (const each of worlds.splice(0)) each.close();
    }
    expect(answers).toEqual(expected);
  });
});

describe('what anybody may ask', () => {
  it.each(['free', 'claimed', 'retired'] as const)('is answered when the device is %s', async (standing) => {
    for (const who of ['late', 'other controller', 'main'] as const) {
      const { client } = await arrange({ standing, who, state: STOP, attended: true }, true);
      expect((await client.request(16, fields(16, 0x1_0002))).error, `${who}: the state`).toBe(0);
      expect((await client.request(0xfe02, fields(1 << 20, 0))).error, `${who}: inspect`).toBe(0);
    }
  });
});

it('FERRY_CLAIM belongs on the control socket, and to those who agreed on it', async () => {
  const world = await World.open();
  worlds.push(world);
  const request = fields(56, 0, 1, 0, 1n, Buffer.alloc(16));
  expect((await world.main.request(0xfe03, request)).error).toBe(Errno.EPERM);
  const without = await world.served.control(EVERYTHING.replace(',"claim":true', ''));
  expect((await without.request(0xfe03, request)).error).toBe(Errno.EINVAL);
});
