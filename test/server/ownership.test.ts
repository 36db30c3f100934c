import { afterEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { setState } from './migration-driver.ts';
import { claimFlow } from './ownership-claim.ts';
import { ioeventfds, rings } from './ownership-doorbells.ts';
import type { Flow } from './ownership-flow.ts';
import { hold, parkedCommands, proveDelivered } from './ownership-hold.ts';
import { keptState, reconnectionChoice } from './ownership-reconnection.ts';
import { plainRows as otherRows, type PlainRow } from './ownership-rows.ts';
import { dataSession, migrationState } from './ownership-session.ts';
import { documentTable } from './ownership-table.ts';
import { CONFIG, World } from './ownership-world.ts';

const { STOP, RUNNING, STOP_COPY } = MigrationState;

const table = documentTable('state', 'owner');

/** The rows whose state is there or not, by their name in the table. */
const plainRows: ReadonlyMap<string, PlainRow> = new Map([
  ...otherRows,
  ['ioeventfds of GET_REGION_IO_FDS', ioeventfds],
]);

/** The rows whose cells are different stories, by their name in the table. */
const flows: ReadonlyMap<string, Flow> = new Map([
  ['migration state', migrationState],
  ['data session', dataSession],
  ['claim', claimFlow],
  ['choice of keep or reset', reconnectionChoice],
  ['state kept for a VMM that comes back', keptState],
  ['hold', hold],
  ['parked commands', parkedCommands],
  ['rings not carried out yet', rings],
]);

/** Worlds of the current test. */
const worlds: World[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.close();
});

function opened(world: World): World {
  worlds.push(world);
  return world;
}

async function arrange(row: PlainRow): Promise<World> {
  const world = opened(await row.arrange());
  expect(await arrangedSight(row), 'before anything happens').toBe('there');
  return world;
}

/** Seen on a world of its own, since seeing may change it. */
async function arrangedSight(row: PlainRow): Promise<string> {
  return row.observe(opened(await row.arrange()));
}

/** Loads the state of `source` into `target`; what the VMM of the source holds is tried on the target. */
async function migrate(source: World, target: World): Promise<void> {
  await target.loadFrom(source);
  target.eventfd = source.eventfd;
  target.mapping = source.mapping;
  target.bell = source.bell;
}

/** What happens, by column; STOP_COPY, RESUMING are two things. */
const events: Readonly<Record<string, readonly ((world: World) => Promise<void>)[]>> = {
  'DEVICE_RESET by the VMM': [(world) => world.reset(world.main)],
  'reset by the control side': [(world) => world.reset(world.control)],
  'main disconnects': [(world) => world.disconnectMain()],
  'control disconnects': [(world) => world.disconnectControl()],
  'leaving the running states': [(world) => world.set(STOP)],
  'STOP_COPY, RESUMING': [
    (world) => world.set(STOP_COPY),
    async (world) => world.loadFrom(opened(await World.open())),
  ],
  'back to RUNNING': [
    async (world) => {
      await world.set(STOP);
      await world.set(RUNNING);
    },
  ],
};

/** What a word says is seen afterwards. */
const sights: Readonly<Record<string, string>> = {
  kept: 'there',
  dropped: 'gone',
  reset: 'reset',
  replaced: 'reset',
};

/** Proves one word of a cell for one event. */
async function proveWord(row: PlainRow, word: string, event: (world: World) => Promise<void>): Promise<void> {
  if (word === 'delivered') return proveDelivered();
  const world = await arrange(row);
  await event(world);
  if (word === 'saved') {
    const target = opened(await World.open());
    await migrate(world, target);
    expect(await row.observe(target), 'at the destination').toBe('there');
    expect(await row.observe(world), 'at the source').toBe('there');
  } else {
    const sight = sights[word];
    if (sight === undefined) throw new Error(`the word "${word}" has no meaning here`);
    expect(await row.observe(world)).toBe(sight);
  }
}

async function proveOwner(row: PlainRow, owner: string): Promise<void> {
  expect(owner).toBe(row.owner);
  const world = await arrange(row);
  await row.trespass(world);
  expect(await row.observe(world), 'after somebody else has tried').toBe('there');
}

async function proveTravels(row: PlainRow, cell: string): Promise<void> {
  expect(['yes', 'no']).toContain(cell);
  const source = await arrange(row);
  const target = opened(await World.open());
  await migrate(source, target);
  await target.set(RUNNING);
  const sight = await row.observe(target);
  if (cell === 'yes') expect(sight).toBe('there');
  else expect(sight).not.toBe('there');
}

async function provePlain(row: PlainRow, column: string, cell: string): Promise<void> {
  if (column === 'owner') return proveOwner(row, cell);
  if (column === "travels in the device's state") return proveTravels(row, cell);
  const happenings = events[column];
  if (happenings === undefined) throw new Error(`nothing is known to happen in the column "${column}"`);
  const words = cell.split(', ');
  expect([1, happenings.length]).toContain(words.length);
  for (const [i, event] of happenings.entries()) await proveWord(row, words[i] ?? cell, event);
}

describe('the table of docs/ownership.md', () => {
  it('has a proof for each row, and no proof is left over', () => {
    const names = table.rows.map(({ name }) => name);
    expect(names.toSorted()).toEqual([...plainRows.keys(), ...flows.keys()].toSorted());
    for (const [name, flow] of flows) expect(Object.keys(flow), name).toEqual([...table.columns]);
  });
});

describe.each(table.rows)('$name', ({ name, cells }) => {
  it.each([...cells])('%s: %s', async (column, cell) => {
    const row = plainRows.get(name);
    if (row !== undefined) return provePlain(row, column, cell);
    const proof = flows.get(name)?.[column];
    if (proof === undefined) throw new Error(`no proof for ${name}, ${column}`);
    const [said, prove] = proof;
    expect(cell).toBe(said);
    await prove(opened(await World.open()));
  });
});

describe('accesses in each state, by a client that migrates its own device', () => {
  const accesses = documentTable('state', 'configuration space');
  const { EINVAL } = Errno;

  /** Errnos of a read and of a write. */
  async function access(world: World, region: number): Promise<readonly [number, number]> {
    const read = await world.main.request(9, fields(4n, region, 2));
    const write = await world.main.request(10, world.writeOf(region, 4, 0, 2));
    return [read.error, write.error];
  }

  const meaning: Readonly<Record<string, readonly [number, number]>> = {
    yes: [0, 0],
    'yes (nothing moves until the device runs again)': [0, 0],
    reads: [0, EINVAL],
    EINVAL: [EINVAL, EINVAL],
  };

  it('has every state but ERROR', () => {
    const named = accesses.rows.flatMap(({ name }) => name.split(', '));
    expect(named.toSorted()).toEqual(
      Object.keys(MigrationState)
        .filter((name) => name !== 'ERROR')
        .toSorted(),
    );
    expect(accesses.columns).toEqual(['configuration space', 'BARs']);
  });

  const cases = accesses.rows.flatMap(({ name, cells }) =>
    name.split(', ').map((state) => ({ state, cells })),
  );
  it.each(cases)('in $state', async ({ state, cells }) => {
    const world = opened(await World.open());
    const number = Object.entries(MigrationState).find(([name]) => name === state)?.[1] ?? -1;
    expect(await setState(world.main, number)).toBe(0);
    expect(await access(world, CONFIG)).toEqual(meaning[cells.get('configuration space') ?? '']);
    expect(await access(world, 0)).toEqual(meaning[cells.get('BARs') ?? '']);
  });

  it('in STOP is answered, but nothing moves until the device runs again', async () => {
    const world = opened(await World.open());
    await setState(world.main, STOP);
    await world.writeRegion(0, 0x10, 16);
    expect(world.server.device.inspect()).toMatchObject({ running: false, working: false });
    await world.giveEventfd(world.main, 2, 1);
    await world.writeRegion(0, 0x18, 1);
    expect(world.signals(), 'STOP has no interrupts').toBe(0);
    expect(await setState(world.main, RUNNING)).toBe(0);
    expect(world.signals()).toBe(1);
  });
});
