import { expect } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { another, type Flow, type Proof } from './ownership-flow.ts';
import type { World } from './ownership-world.ts';
import { askReconnection } from './reconnection-driver.ts';

const { RUNNING, STOP, STOP_COPY, RESUMING } = MigrationState;
const SCRATCH = 4;
const MARK = 0x5a5a;

const untouched = (event: (world: World) => Promise<void>): Proof => [
  'kept',
  async (world) => {
    await askReconnection(world.control, 'keep');
    await event(world);
    expect(await askReconnection(await world.controller(), 'query')).toMatchObject({ keep: true });
  },
];

/** What was chosen for the next time, by column. */
export const reconnectionChoice: Flow = {
  owner: [
    'control side',
    async (world) => {
      const { error } = await world.main.request(0xfe04, fields(4120, 0, 1, 0));
      expect(error).toBe(Errno.EPERM);
      expect(await askReconnection(world.control, 'query')).toMatchObject({ keep: false });
      expect(await askReconnection(world.control, 'keep')).toMatchObject({ keep: true });
    },
  ],
  'DEVICE_RESET by the VMM': untouched((world) => world.reset(world.main)),
  'reset by the control side': untouched((world) => world.reset(world.control)),
  'main disconnects': untouched((world) => world.disconnectMain()),
  'control disconnects': untouched((world) => world.disconnectControl()),
  'leaving the running states': untouched((world) => world.set(STOP)),
  'STOP_COPY, RESUMING': untouched(async (world) => {
    await world.set(STOP_COPY);
    await world.set(RESUMING);
  }),
  'back to RUNNING': untouched(async (world) => {
    await world.set(STOP);
    await world.set(RUNNING);
  }),
  "travels in the device's state": [
    'no',
    async (world) => {
      await askReconnection(world.control, 'keep');
      const other = await another(world);
      await other.loadFrom(world);
      expect(await askReconnection(other.control, 'query')).toMatchObject({ keep: false });
    },
  ],
};

/** A VMM has left its mark in the device and has gone, and what it left is kept. */
async function leave(world: World): Promise<void> {
  await askReconnection(world.control, 'keep');
  await world.writeRegion(0, SCRATCH, MARK);
  await world.disconnectMain();
  await expectKept(world);
}

async function expectKept(world: World): Promise<void> {
  expect(await askReconnection(await world.controller(), 'query')).toMatchObject({ kept: true });
  expect(world.peek(0, SCRATCH)).toBe(MARK);
}

async function expectOver(world: World, mark: number): Promise<void> {
  expect(await askReconnection(await world.controller(), 'query')).toMatchObject({ kept: false });
  expect(world.peek(0, SCRATCH)).toBe(mark);
}

const outlives = (event: (world: World) => Promise<void>): Proof => [
  'kept',
  async (world) => {
    await leave(world);
    await event(world);
    await expectKept(world);
  },
];

/** The state that is kept for a VMM that comes back, by column. */
export const keptState: Flow = {
  owner: [
    'control side',
    async (world) => {
      await leave(world);
      await world.reset(await world.vmm());
      await expectKept(world);
      await askReconnection(await world.controller(), 'continue');
      await expectOver(world, MARK);
      await world.reset(await world.vmm());
      expect(world.peek(0, SCRATCH), 'what the guest resets later is reset').toBe(0);
    },
  ],
  'DEVICE_RESET by the VMM': [
    'withheld',
    async (world) => {
      await leave(world);
      await world.reset(await world.vmm());
      await expectKept(world);
      expect(await askReconnection(world.control, 'query')).toMatchObject({ returned: true, withheld: 1 });
    },
  ],
  'reset by the control side': [
    'ends',
    async (world) => {
      await leave(world);
      await world.reset(await world.controller());
      await expectOver(world, 0);
    },
  ],
  'main disconnects': ['begins', leave],
  'control disconnects': outlives((world) => world.disconnectControl()),
  'leaving the running states': outlives(async (world) => {
    await world.set(RUNNING);
    await world.set(STOP);
  }),
  'STOP_COPY, RESUMING': outlives(async (world) => {
    await world.set(STOP_COPY);
    const donor = await another(world);
    await donor.writeRegion(0, SCRATCH, MARK);
    await world.loadFrom(donor);
    await world.set(STOP);
  }),
  'back to RUNNING': [
    'ends when a VMM is there',
    async (world) => {
      await leave(world);
      await world.set(RUNNING);
      await expectKept(world);
      await world.reset(await world.vmm());
      await expectKept(world);
      await world.set(STOP);
      await world.set(RUNNING);
      await expectOver(world, MARK);
    },
  ],
  "travels in the device's state": [
    'no',
    async (world) => {
      await leave(world);
      const other = await another(world);
      await other.loadFrom(world);
      await expectOver(other, MARK);
    },
  ],
};
