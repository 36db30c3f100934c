import { expect } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { TEST_BELL } from '../helpers/test-device.ts';
import { another, type Flow } from './ownership-flow.ts';
import type { PlainRow } from './ownership-rows.ts';
import { native, World } from './ownership-world.ts';

const { STOP, RUNNING, STOP_COPY } = MigrationState;
const ASK = fields(64, 0, 0, 0);

/** Asks for the doorbell of SCRATCH; the world keeps its eventfd. */
async function askForBell(world: World): Promise<void> {
  const { fds, error } = await world.main.request(6, ASK);
  expect([error, fds.length]).toEqual([0, 1]);
  const bell = native.dup(fds[0] ?? -1);
  for (const fd of fds) native.close(fd);
  world.bell = bell;
  world.cleanup(() => native.close(bell));
}

function ring(world: World): void {
  expect(native.eventfdSignal(world.bell, 1)).toBe(0);
}

/** Whether a ring has reached the device, or does soon. */
async function arrives({ device: { state } }: World): Promise<boolean> {
  for (let i = 0; i < 50 && state.scratch === 0; i += 1) await settle(1);
  return state.scratch === TEST_BELL.datamatch;
}

/** A ring that nobody has carried out, as the device is held. */
async function rung(world: World): Promise<void> {
  await askForBell(world);
  await world.set(STOP);
  ring(world);
  await settle(10);
  expect(world.device.state.scratch).toBe(0);
}

/** The device runs again, and the ring reaches it. */
async function carriedOut(world: World): Promise<void> {
  expect(world.device.state.scratch).toBe(0);
  await world.set(RUNNING);
  expect(await arrives(world)).toBe(true);
}

async function keptRung(world: World, event: () => Promise<unknown>): Promise<void> {
  await rung(world);
  await event();
  await settle(10);
  await carriedOut(world);
}

/** The eventfds: rung, they write SCRATCH. */
export const ioeventfds: PlainRow = {
  owner: 'main connection',
  arrange: async () => {
    const world = await World.open();
    await askForBell(world);
    return world;
  },
  observe: async (world) => {
    await world.run();
    world.device.state.scratch = 0;
    ring(world);
    return (await arrives(world)) ? 'there' : 'gone';
  },
  trespass: async ({ control }) => {
    expect(await control.request(6, ASK)).toMatchObject({ error: Errno.EPERM, fds: [] });
  },
};

/** Rings that were not carried out yet, by column. */
export const rings: Flow = {
  owner: [
    'main connection',
    async (world) => {
      await rung(world);
      expect(await world.control.request(6, ASK)).toMatchObject({ error: Errno.EPERM });
      await carriedOut(world);
    },
  ],
  'DEVICE_RESET by the VMM': [
    'dropped',
    async (world) => {
      await rung(world);
      const reset = world.main.post(13);
      await world.set(RUNNING);
      expect((await world.main.reply(reset)).error).toBe(0);
      await settle(10);
      expect(world.device.state.scratch).toBe(0);
      ring(world);
      expect(await arrives(world), 'the doorbell is still there').toBe(true);
    },
  ],
  'reset by the control side': ['kept', (world) => keptRung(world, () => world.reset(world.control))],
  'main disconnects': [
    'writes kept',
    async (world) => {
      await rung(world);
      await world.disconnectMain();
      expect(world.device.state.scratch).toBe(0);
      await world.set(RUNNING);
      expect(world.device.state.scratch).toBe(TEST_BELL.datamatch);
    },
  ],
  'control disconnects': ['kept', (world) => keptRung(world, () => world.disconnectControl())],
  'leaving the running states': [
    'carried out',
    async (world) => {
      await askForBell(world);
      ring(world);
      await world.set(STOP);
      expect(world.device.state.scratch).toBe(TEST_BELL.datamatch);
    },
  ],
  'STOP_COPY, RESUMING': [
    'kept',
    async (world) => {
      await keptRung(world, () => world.set(STOP_COPY));
      world.device.state.scratch = 0;
      const donor = await another(world);
      await keptRung(world, () => world.loadFrom(donor));
    },
  ],
  'back to RUNNING': [
    'carried out',
    async (world) => {
      await rung(world);
      await carriedOut(world);
    },
  ],
  "travels in the device's state": [
    'no',
    async (world) => {
      await rung(world);
      const other = await another(world);
      await other.loadFrom(world);
      await other.set(RUNNING);
      await settle(10);
      expect(other.device.state.scratch).toBe(0);
    },
  ],
};
