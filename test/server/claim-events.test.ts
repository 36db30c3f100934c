import { describe, expect, it } from 'vitest';
import { memory, PciDevice, u32 } from '../../src/device/index.ts';
import { Errno, errnoName } from '../../src/errors/index.ts';
import { isRunning, MigrationState } from '../../src/states/index.ts';
import { fields, type RawClient } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { until } from '../helpers/until.ts';
import { askClaim, claim } from './claim-driver.ts';
import { getState, setState } from './migration-driver.ts';
import { documentTable } from './ownership-table.ts';
import { EVERYTHING } from './ownership-world.ts';
import { testServers } from './test-servers.ts';

const { RUNNING, RUNNING_P2P, STOP, STOP_COPY, RESUMING, PRE_COPY } = MigrationState;
const { EBUSY, ENODEV, EKEYREVOKED } = Errno;
const { serve } = testServers();

const WRITE = 10;
const DEVICE_RESET = 13;
const SCRATCH = fields(0n, 0, 4);
const config = (offset: bigint, value: number) =>
  fields(offset, 7, 2, new Uint8Array(Uint16Array.of(value).buffer));

/** Resets itself by Initiate FLR and on its way from D3hot to D0; stops after as many arcs as the test says. */
class Endpoint extends PciDevice {
  override readonly identity = { kind: 'endpoint', vendor: 0x1af4, device: 0x10f5, classCode: 0xff0000 };
  readonly state = this.migratable({ value: u32({ initial: 7 }), ram: memory(4096) });
  override readonly bars = {
    0: this.registers(4096, {
      0: {
        read: () => this.state.value,
        write: (value: number) => {
          this.state.value = value;
        },
      },
    }),
  };
  override readonly interrupts = {};
  override readonly options = { express: true, powerManagement: { noSoftReset: false } };
  resets = 0;

  protected override onReset(): void {
    this.resets += 1;
  }
}

const FLR = config(0x50n, 0x8000);
const [D3HOT, D0] = [config(0x44n, 3), config(0x44n, 0)];

type Situation = 'claimed, running' | 'claimed, stopped' | 'retired';

async function open(situation: Situation, holdLimitMs = 10_000) {
  const device = new Endpoint();
  const served = serve(device, { holdLimitMs });
  const main = await served.main(EVERYTHING);
  const control = await served.control(EVERYTHING);
  expect((await main.request(WRITE, D3HOT)).error, 'waiting to be woken up').toBe(0);
  await claim(control, 'claim');
  if (situation === 'claimed, running') await setState(control, PRE_COPY);
  else await setState(control, STOP_COPY);
  if (situation === 'retired') await claim(control, 'retire');
  return { device, served, server: served.server, main, control };
}

type World = Awaited<ReturnType<typeof open>>;

/** Whether a command of the VMM is `done` at once, is `parked`, or gets an errno. */
async function fate(
  { server }: Pick<World, 'server'>,
  main: RawClient,
  command: number,
  payload: Buffer = Buffer.alloc(0),
): Promise<string> {
  let error: number | null = null;
  void main.reply(main.post(command, payload)).then(
    (reply) => {
      error = reply.error;
    },
    () => {},
  );
  await until(() => error !== null || (server.main?.connection.heldCommands ?? 0) > 0);
  if (error === null) return 'parked';
  return error === 0 ? 'done' : errnoName(error);
}

/** The reset has happened exactly if it was done, and the device runs only then. */
async function reset(world: World, command: number, payload?: Buffer): Promise<string> {
  const result = await fate(world, world.main, command, payload);
  expect(world.device.resets, result).toBe(result === 'done' ? 1 : 0);
  if (result === 'done') {
    expect(await setState(world.control, RUNNING), 'the holder is told').toBe(ENODEV);
    expect(await getState(world.control)).toBe(RUNNING);
    expect(await setState(world.control, PRE_COPY), 'and may go on then').toBe(0);
  }
  return result;
}

async function claimKept(world: World, standing: Situation): Promise<string> {
  const another = await world.served.control(EVERYTHING);
  const status = await askClaim(another, 'query');
  if (!status.claimed || status.retired !== (standing === 'retired')) return 'claim lost';
  expect(await setState(another, STOP)).toBe(EBUSY);
  return 'claim kept';
}

/** What happens, by the first cell of the table: what is seen of it. */
const events: Readonly<Record<string, (situation: Situation) => Promise<string>>> = {
  'DEVICE_RESET by the VMM': async (situation) => reset(await open(situation), DEVICE_RESET),
  'Initiate FLR, D3hot to D0 by the guest': async (situation) => {
    const results = new Set<string>();
    for (const write of [FLR, D0]) results.add(await reset(await open(situation), WRITE, write));
    return [...results].join(' or ');
  },
  'BAR access by the VMM': async (situation) => {
    const world = await open(situation);
    return fate(world, world.main, 9, SCRATCH);
  },
  'the same when the hold has expired': async (situation) => {
    const results = new Set<string>();
    for (const [command, payload] of [
      [DEVICE_RESET, Buffer.alloc(0)],
      [WRITE, FLR],
      [WRITE, D0],
      [9, SCRATCH],
    ] as const) {
      const world = await open(situation, 1);
      const id = world.main.post(command, payload);
      results.add((await world.main.reply(id)).error === EBUSY ? 'EBUSY' : 'done');
      if (results.has('EBUSY')) {
        expect(await fate(world, world.main, DEVICE_RESET), 'and at once from then on').toBe('EBUSY');
        expect(world.device.resets).toBe(0);
        expect(isRunning(world.server.migration.state)).toBe(false);
      }
    }
    return [...results].join(' or ');
  },
  'the holder disconnects': async (situation) => {
    const world = await open(situation);
    const { state } = world.server.migration;
    world.control.close();
    await until(() => world.server.controls === 0);
    expect(world.server.migration.state).toBe(state);
    return claimKept(world, situation);
  },
  'the VMM disconnects, another connects': async (situation) => {
    const world = await open(situation);
    const { state } = world.server.migration;
    world.main.post(WRITE, fields(0n, 0, 4, 5));
    world.main.close();
    await until(() => world.server.main === null);
    const vmm = await world.served.main(EVERYTHING);
    expect(await fate(world, vmm, DEVICE_RESET)).toBe(isRunning(state) ? 'done' : 'parked');
    if (!isRunning(state)) expect(world.server.migration.state).toBe(state);
    return claimKept(world, situation);
  },
  'a change of state fails on its way': async (situation) => {
    const world = await open(situation);
    const { state } = world.server.migration;
    const target = situation === 'claimed, running' ? RESUMING : STOP;
    const failing = world.server.device.migration;
    Object.defineProperty(failing, 'arc', {
      value: () => {
        throw new TypeError('stuck');
      },
    });
    expect(await setState(world.control, target)).not.toBe(0);
    expect(world.server.migration.state, 'nothing is undone behind the back of the holder').toBe(state);
    expect(await claimKept(world, situation)).toBe('claim kept');
    return 'reported';
  },
};

describe('the table of docs/ownership.md', () => {
  const table = documentTable('what happens', 'claimed, running');
  const cases = table.rows.flatMap(({ name, cells }) =>
    [...cells].map(([column, cell]) => ({ name, column, cell })),
  );

  it('has a proof for each row, and no proof is left over', () => {
    expect(table.rows.map(({ name }) => name)).toEqual(Object.keys(events));
    expect(table.columns).toEqual(['claimed, running', 'claimed, stopped', 'retired']);
  });

  it.each(cases)('$name, $column: $cell', async ({ name, column, cell }) => {
    const event = events[name];
    if (column !== 'claimed, running' && column !== 'claimed, stopped' && column !== 'retired') {
      throw new Error(`no such situation: ${column}`);
    }
    expect(await event?.(column)).toBe(cell);
  });
});

describe('a retired device', () => {
  it('carries out what its VMM has parked once it is released and runs, reset included', async () => {
    const world = await open('retired');
    const id = world.main.post(DEVICE_RESET);
    await settle(10);
    await claim(world.control, 'release');
    expect(await setState(world.control, RUNNING)).toBe(0);
    expect(await world.main.reply(id)).toMatchObject({ error: 0 });
    expect(world.device.resets).toBe(1);
  });

  it('waits for its VMM also where nothing had been taken from it: configuration space included', async () => {
    const served = serve(new Endpoint());
    const main = await served.main(EVERYTHING);
    const control = await served.control(EVERYTHING);
    await claim(control, 'claim');
    await setState(control, STOP);
    expect(await fate(served, main, 9, fields(0n, 7, 4)), 'answered before').toBe('done');
    await claim(control, 'retire');
    expect(await fate(served, main, 9, fields(0n, 7, 4))).toBe('parked');
  });

  it.each([RUNNING, RUNNING_P2P, PRE_COPY, RESUMING])(
    'can not be retired in %i, and stays claimed',
    async (state) => {
      const served = serve(new Endpoint());
      const control = await served.control(EVERYTHING);
      await claim(control, 'claim');
      await setState(control, state);
      expect((await askClaim(control, 'retire', 1n)).errno).toBe(Errno.EINVAL);
      expect(await askClaim(control, 'query')).toMatchObject({ claimed: true, retired: false, state });
    },
  );

  it('runs again after a release by force, which its late holder can not undo', async () => {
    const { control, served, main } = await open('retired');
    const operator = await served.control(EVERYTHING);
    expect((await askClaim(operator, 'release', 1n, undefined, 1)).errno).toBe(Errno.ESTALE);
    await claim(operator, 'release', 2n, undefined, 1);
    expect(await setState(control, STOP)).toBe(Errno.ESTALE);
    expect(await setState(operator, RUNNING)).toBe(0);
    expect(await fate(served, main, 9, SCRATCH)).toBe('done');
    for (const operation of ['claim', 'retire', 'release'] as const) {
      expect((await askClaim(control, operation, 1n)).errno, operation).toBe(Errno.ESTALE);
    }
    expect(await setState(control, STOP)).toBe(Errno.ESTALE);
    expect(await getState(operator)).toBe(RUNNING);
  });
});

describe('a claim', () => {
  it('holds a device that its VMM has stopped', async () => {
    const served = serve(new Endpoint());
    const main = await served.main(EVERYTHING);
    expect(await setState(main, STOP)).toBe(0);
    main.close();
    await until(() => served.server.main === null);
    const vmm = await served.main(EVERYTHING);
    const control = await served.control(EVERYTHING);
    await claim(control, 'claim');
    expect(await fate(served, vmm, DEVICE_RESET)).toBe('parked');
  });

  it('is refused while somebody drives the device without one, and then not', async () => {
    const served = serve(new Endpoint());
    const [driver, control] = [await served.control(EVERYTHING), await served.control(EVERYTHING)];
    await setState(driver, STOP_COPY);
    expect((await askClaim(control, 'claim', 1n)).errno).toBe(EBUSY);
    expect(await askClaim(control, 'query')).toMatchObject({ claimed: false });
    driver.close();
    await until(() => served.server.controls === 1);
    expect(await askClaim(control, 'claim', 1n)).toMatchObject({ errno: 0, state: STOP_COPY });
  });

  it('ends a session that has no claim when it is made by force, and its driver is told', async () => {
    const served = serve(new Endpoint());
    const [driver, operator] = [await served.control(EVERYTHING), await served.control(EVERYTHING)];
    await setState(driver, STOP_COPY);
    expect(await setState(operator, RUNNING)).toBe(EBUSY);
    await claim(operator, 'release', 1n, undefined, 1);
    expect(await setState(operator, RUNNING)).toBe(0);
    expect(await setState(driver, STOP)).toBe(ENODEV);
  });

  it('takes the session over, in the middle of it, and its late driver can do nothing more', async () => {
    const served = serve(new Endpoint());
    const [asleep, recovery] = [await served.control(EVERYTHING), await served.control(EVERYTHING)];
    await claim(asleep, 'claim', 1n);
    await setState(asleep, STOP_COPY);
    await claim(recovery, 'claim', 2n);
    for (const operation of ['retire', 'release', 'claim'] as const) {
      expect((await askClaim(asleep, operation, 1n)).errno, operation).toBe(Errno.ESTALE);
    }
    expect(await setState(asleep, RUNNING)).toBe(Errno.ESTALE);
    expect(await setState(recovery, RUNNING)).toBe(0);
    expect((await asleep.request(DEVICE_RESET)).error).toBe(Errno.ESTALE);
  });

  it('tells the instance, which another server has not, and counts resets', async () => {
    const [one, two] = [await open('claimed, running'), await open('claimed, running')];
    const before = await askClaim(one.control, 'query');
    expect(before).toMatchObject({ resets: 0n, yours: true, state: PRE_COPY, epoch: 1n });
    expect((await askClaim(two.control, 'query')).instance).not.toBe(before.instance);
    await one.main.request(DEVICE_RESET);
    const after = await askClaim(one.control, 'query');
    expect(after).toMatchObject({ resets: 1n, instance: before.instance, state: RUNNING });
  });

  it('is shown by FERRY_INSPECT, without its token', async () => {
    const { control } = await open('retired');
    const reply = await control.request(0xfe02, fields(1 << 20, 0));
    const report: unknown = JSON.parse(Buffer.from(reply.payload.subarray(8)).toString());
    const { id } = await askClaim(control, 'query');
    expect(report).toMatchObject({
      resets: 0,
      claim: { id: id.toString(16).padStart(16, '0'), epoch: '1', retired: true, attended: true },
    });
    expect(Buffer.from(reply.payload).toString()).not.toContain('0f1e2d3c');
  });

  it('refuses the holder of a retired device what would make it run', async () => {
    const { control, server } = await open('retired');
    for (const state of [RUNNING, RUNNING_P2P, PRE_COPY, RESUMING]) {
      expect(await setState(control, state)).toBe(EKEYREVOKED);
    }
    expect((await control.request(DEVICE_RESET)).error).toBe(EKEYREVOKED);
    expect(server.migration.state).toBe(STOP_COPY);
    expect(await setState(control, STOP), 'cleaning up').toBe(0);
  });
});
