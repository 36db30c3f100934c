import { expect } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { askClaim, claim, OTHER_TOKEN } from './claim-driver.ts';
import { setState } from './migration-driver.ts';
import { another, type Flow, type Proof } from './ownership-flow.ts';
import { EVERYTHING, type World } from './ownership-world.ts';

const { RUNNING, STOP, STOP_COPY, RESUMING } = MigrationState;
const { EBUSY } = Errno;

/** The claim is there: others are kept out, whoever has the token may go on. */
async function isThere(world: World): Promise<void> {
  const stranger = await world.served.control(EVERYTHING);
  expect(await askClaim(stranger, 'query')).toMatchObject({ claimed: true, epoch: 1n });
  expect(await setState(stranger, STOP)).toBe(EBUSY);
  expect((await askClaim(stranger, 'claim', 1n, OTHER_TOKEN)).errno).toBe(EBUSY);
  expect(await askClaim(stranger, 'claim', 1n)).toMatchObject({ errno: 0, yours: true });
}

const outlives = (event: (world: World) => Promise<void>): Proof => [
  'kept',
  async (world) => {
    await claim(world.control, 'claim');
    await event(world);
    await isThere(world);
  },
];

/** The claim, by column. */
export const claimFlow: Flow = {
  owner: ['who has its token', (world) => claim(world.control, 'claim').then(() => isThere(world))],
  'DEVICE_RESET by the VMM': outlives((world) => world.reset(world.main)),
  'reset by the control side': outlives((world) => world.reset(world.control)),
  'main disconnects': outlives((world) => world.disconnectMain()),
  'control disconnects': outlives((world) => world.disconnectControl()),
  'leaving the running states': outlives((world) => world.set(STOP)),
  'STOP_COPY, RESUMING': outlives(async (world) => {
    await world.set(STOP_COPY);
    await world.set(RESUMING);
  }),
  'back to RUNNING': outlives(async (world) => {
    await world.set(STOP);
    await world.set(RUNNING);
  }),
  "travels in the device's state": [
    'no',
    async (world) => {
      await claim(world.control, 'claim');
      const other = await another(world);
      await other.loadFrom(world);
      expect(await askClaim(other.control, 'query')).toMatchObject({ claimed: false });
    },
  ],
};
