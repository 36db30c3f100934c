import { describe, expect, it } from 'vitest';
import {
  type Asker,
  CLAIM_RULES,
  type ClaimedOperation,
  GRANT_RULES,
  type Standing,
} from '../../src/server/claim-rules.ts';
import { Claims } from '../../src/server/claims.ts';
import { outcomeOf, Party } from './migration-parties.ts';
import { documentTable } from './ownership-table.ts';

const token = (byte: number): Uint8Array => new Uint8Array(16).fill(byte);
const T = token(1);
const OTHER = token(2);

function open() {
  let now = 1000;
  const claims = new Claims<Party>(() => now);
  const [a, b, c] = [new Party('a'), new Party('b'), new Party('c')];
  return { claims, a, b, c, later: () => (now += 1000) };
}

const errnoOfCode = {
  yes: 'yes',
  granted: 'granted',
  ERR_CLAIMED: 'EBUSY',
  ERR_CLAIM_STALE: 'ESTALE',
  ERR_RETIRED: 'EKEYREVOKED',
} as const;

const OPERATIONS: readonly ClaimedOperation[] = ['run', 'stop', 'resume', 'read data', 'write data', 'reset'];

describe('the tables of docs/ownership.md', () => {
  const rights = documentTable('who asks for what', 'not claimed');
  const askers: Readonly<Record<string, Asker>> = {
    holder: 'holder',
    late: 'late',
    'other controller': 'other',
    'main connection': 'other',
  };
  const whats: Readonly<Record<string, readonly ClaimedOperation[]>> = {
    'a running state': ['run'],
    'STOP, STOP_COPY': ['stop'],
    RESUMING: ['resume'],
    'MIG_DATA_READ, FERRY_PRECOPY_INFO': ['read data'],
    MIG_DATA_WRITE: ['write data'],
    DEVICE_RESET: ['reset'],
    'any of these': OPERATIONS,
    'any of these but DEVICE_RESET': OPERATIONS.filter((one) => one !== 'reset'),
  };
  const standings: Readonly<Record<string, Standing>> = {
    'not claimed': 'free',
    claimed: 'claimed',
    retired: 'retired',
  };

  it.each(rights.rows)('$name', ({ name, cells }) => {
    const [who = '', what = ''] = name.split(': ');
    const [asker, operations] = [askers[who], whats[what]];
    if (asker === undefined || operations === undefined) throw new Error(`nobody knows ${name}`);
    for (const [column, cell] of cells) {
      const standing = standings[column];
      if (standing === undefined) throw new Error(`nobody knows ${column}`);
      for (const operation of operations) {
        const verdict = CLAIM_RULES[standing][asker][operation];
        if (cell !== '-') expect(errnoOfCode[verdict], `${column}, ${operation}`).toBe(cell);
        else expect(standing, 'a device that nobody claims has no holder').toBe('free');
      }
    }
  });

  it('leave nobody and nothing out', () => {
    const named = rights.rows.flatMap(({ name }) => {
      const [who = '', what = ''] = name.split(': ');
      return (whats[what] ?? []).map((operation) => `${who}: ${operation}`);
    });
    const everything = Object.keys(askers).flatMap((who) => OPERATIONS.map((one) => `${who}: ${one}`));
    expect([...named, 'main connection: reset'].toSorted()).toEqual(everything.toSorted());
  });

  const grants = documentTable('claim, token', 'lower epoch');
  it('of a CLAIM are the rules', () => {
    const said = grants.rows.map(({ name, cells }) => [name, ...cells.values()]);
    const ruled = (['claimed', 'retired'] as const).flatMap((standing) =>
      (['same', 'other'] as const).map((relation) => {
        const { lower, equal, higher } = GRANT_RULES[standing][relation];
        return [`${standing}, ${relation} token`, ...[lower, equal, higher].map((one) => errnoOfCode[one])];
      }),
    );
    expect(said).toEqual(ruled);
  });
});

describe('a claim', () => {
  const epochs = { lower: 4n, equal: 5n, higher: 6n } as const;
  const tokens = { same: T, other: OTHER } as const;
  const cases = (['claimed', 'retired'] as const).flatMap((standing) =>
    (['same', 'other'] as const).flatMap((relation) =>
      (['lower', 'equal', 'higher'] as const).map((epoch) => ({ standing, relation, epoch })),
    ),
  );

  it.each(cases)('$standing, $relation token, $epoch epoch', ({ standing, relation, epoch }) => {
    const { claims, a, b, later } = open();
    claims.grant(T, 5n, a);
    if (standing === 'retired') claims.retire(T, 5n, a);
    const before = claims.view;
    later();
    const outcome = outcomeOf(() => claims.grant(tokens[relation], epochs[epoch], b));
    const verdict = errnoOfCode[GRANT_RULES[standing][relation][epoch]];
    expect(outcome).toBe(verdict === 'granted' ? 'ok' : verdict);
    if (outcome !== 'ok') {
      expect(claims.view, 'a refusal changes nothing').toEqual(before);
      expect([claims.holds(a), claims.holds(b)]).toEqual([true, false]);
      return;
    }
    expect([claims.holds(a), claims.holds(b)]).toEqual([false, true]);
    expect(claims.view).toMatchObject({
      epoch: epochs[epoch],
      retired: standing === 'retired',
      sinceMs: relation === 'same' ? 1000 : 2000,
    });
    expect(
      outcomeOf(() => claims.require('stop', a)),
      'who had it is late',
    ).toBe('ESTALE');
  });

  it('outlives its holder, and is taken up by whoever has the token', () => {
    const { claims, a, b } = open();
    claims.grant(T, 1n, a);
    claims.leave(a);
    expect(claims.view).toMatchObject({ attended: false });
    expect(outcomeOf(() => claims.require('run', b))).toBe('EBUSY');
    claims.grant(T, 1n, b);
    expect(outcomeOf(() => claims.require('run', b))).toBe('ok');
  });

  it('can be claimed again by its holder, with a higher epoch', () => {
    const { claims, a } = open();
    claims.grant(T, 1n, a);
    claims.grant(T, 2n, a);
    expect(outcomeOf(() => claims.require('run', a))).toBe('ok');
    expect(claims.view).toMatchObject({ epoch: 2n });
  });

  it('is named by an id that is not its token', () => {
    const { claims, a } = open();
    claims.grant(T, 1n, a);
    expect(claims.view?.id).not.toBe(0x0101010101010101n);
    expect(claims.view?.id).toBeGreaterThan(0n);
  });
});

describe('RETIRE and RELEASE', () => {
  const acts = ['retire', 'release'] as const;
  const askers = { holder: 0, late: 1, other: 2 } as const;

  const cases = acts.flatMap((act) =>
    (Object.keys(askers) as (keyof typeof askers)[]).flatMap((asker) =>
      ([T, OTHER] as const).flatMap((using) =>
        [1n, 2n, 3n].map((epoch) => ({ act, asker, using, epoch, same: using === T })),
      ),
    ),
  );

  it.each(cases)('$act by $asker, same token: $same, epoch $epoch', ({ act, asker, using, epoch, same }) => {
    const { claims, a, b, c } = open();
    claims.grant(T, 1n, b);
    claims.grant(T, 2n, a);
    const by = { holder: a, late: b, other: c }[asker];
    const expected = (): string => {
      if (asker === 'late') return 'ESTALE';
      if (!same) return 'EBUSY';
      if (asker === 'other' || epoch < 2n) return 'ESTALE';
      return epoch === 2n ? 'ok' : 'EINVAL';
    };
    expect(outcomeOf(() => claims[act](using, epoch, by))).toBe(expected());
    const done = { retire: 'retired', release: 'free' } as const;
    expect(claims.standing).toBe(expected() === 'ok' ? done[act] : 'claimed');
  });

  it('are refused when nothing is claimed', () => {
    const { claims, a } = open();
    for (const act of acts) expect(outcomeOf(() => claims[act](T, 1n, a))).toBe('EINVAL');
  });

  it('leave the device to anybody after the release, to the late holder only if it claims anew', () => {
    const { claims, a, b, c } = open();
    claims.grant(T, 1n, b);
    claims.grant(T, 2n, a);
    claims.retire(T, 2n, a);
    claims.release(T, 2n, a);
    expect(claims.epoch).toBe(2n);
    for (const by of [a, c]) expect(outcomeOf(() => claims.require('run', by))).toBe('ok');
    for (const operation of OPERATIONS) {
      expect(outcomeOf(() => claims.require(operation, b))).toBe('ESTALE');
    }
    expect(
      outcomeOf(() => claims.grant(T, 1n, b)),
      'its epoch is over',
    ).toBe('ESTALE');
    expect(
      outcomeOf(() => claims.grant(OTHER, 1n, b)),
      'another migration begins',
    ).toBe('ok');
    expect(outcomeOf(() => claims.require('run', b))).toBe('ok');
  });

  it('let the same migration go on with the device that it gave back', () => {
    const { claims, a } = open();
    claims.grant(T, 1n, a);
    claims.release(T, 1n, a);
    expect(outcomeOf(() => claims.grant(T, 1n, a))).toBe('ok');
  });
});

describe('a release by force', () => {
  it.each(['claimed', 'retired'] as const)('needs a higher epoch: %s', (standing) => {
    const { claims, a, b } = open();
    claims.grant(T, 3n, a);
    if (standing === 'retired') claims.retire(T, 3n, a);
    for (const epoch of [0n, 2n, 3n]) expect(outcomeOf(() => claims.force(epoch, b))).toBe('ESTALE');
    expect(claims.standing).toBe(standing);
    claims.force(4n, b);
    expect(claims.standing).toBe('free');
  });

  it('keeps out whoever had the device: the connection, and the token up to that epoch', () => {
    const { claims, a, b, c } = open();
    claims.grant(T, 3n, a);
    claims.force(4n, b);
    expect(outcomeOf(() => claims.require('run', a))).toBe('ESTALE');
    for (const epoch of [3n, 4n]) expect(outcomeOf(() => claims.grant(T, epoch, c))).toBe('ESTALE');
    expect(outcomeOf(() => claims.grant(T, 5n, c))).toBe('ok');
  });

  it('of what nobody has claimed changes nothing', () => {
    const { claims, a } = open();
    claims.force(1n, a);
    expect(claims.view).toBeNull();
    expect(outcomeOf(() => claims.require('run', a))).toBe('ok');
  });

  it('keeps the one out whose claim another token took over', () => {
    const { claims, a, b } = open();
    claims.grant(T, 1n, a);
    claims.grant(OTHER, 2n, b);
    claims.release(OTHER, 2n, b);
    expect(outcomeOf(() => claims.require('run', a))).toBe('ESTALE');
    expect(outcomeOf(() => claims.grant(T, 1n, a))).toBe('ESTALE');
    expect(outcomeOf(() => claims.grant(T, 2n, a))).toBe('ok');
  });
});

it('remembers claims that are over in bounded memory, the latest of them', () => {
  const { claims, a } = open();
  for (let i = 0; i < 100; i += 1) {
    claims.grant(token(i), 5n, a);
    claims.release(token(i), 5n, a);
  }
  expect(outcomeOf(() => claims.grant(token(99), 4n, a))).toBe('ESTALE');
  expect(outcomeOf(() => claims.grant(token(36), 4n, a))).toBe('ESTALE');
  expect(outcomeOf(() => claims.grant(token(35), 4n, a))).toBe('ok');
});
