import { expect } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import type { RawClient } from '../helpers/raw-client.ts';
import {
  dataOf,
  getState,
  loadState,
  readAll,
  readData,
  saveState,
  setState,
  writeAll,
  writeData,
} from './migration-driver.ts';
import { another, type Flow } from './ownership-flow.ts';
import { EVERYTHING, type World } from './ownership-world.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY } = MigrationState;
const { EBUSY, EINVAL, ENODEV } = Errno;

async function seenByBoth(world: World, state: MigrationState): Promise<void> {
  expect(await getState(await world.vmm())).toBe(state);
  expect(await getState(await world.controller())).toBe(state);
}

/** The migration state, by column. */
export const migrationState: Flow = {
  owner: [
    'device',
    async (world) => {
      await world.set(PRE_COPY);
      await seenByBoth(world, PRE_COPY);
      await world.disconnectControl();
      await world.disconnectMain();
      await seenByBoth(world, PRE_COPY);
    },
  ],
  'DEVICE_RESET by the VMM': [
    'RUNNING',
    (world) => afterPreCopy(world, () => world.reset(world.main), RUNNING),
  ],
  'reset by the control side': [
    'RUNNING',
    (world) => afterPreCopy(world, () => world.reset(world.control), RUNNING),
  ],
  'main disconnects': ['kept', (world) => afterPreCopy(world, () => world.disconnectMain(), PRE_COPY)],
  'control disconnects': ['kept', (world) => afterPreCopy(world, () => world.disconnectControl(), PRE_COPY)],
  'leaving the running states': ['changes', (world) => afterPreCopy(world, () => world.set(STOP), STOP)],
  'STOP_COPY, RESUMING': [
    'changes',
    async (world) => {
      for (const state of [STOP_COPY, RESUMING]) await afterPreCopy(world, () => world.set(state), state);
    },
  ],
  'back to RUNNING': [
    'changes',
    async (world) => {
      await world.set(STOP);
      await world.set(RUNNING);
      await seenByBoth(world, RUNNING);
    },
  ],
  "travels in the device's state": [
    'no',
    async (world) => {
      const other = await another(world);
      await other.loadFrom(world);
      await seenByBoth(world, STOP_COPY);
      await seenByBoth(other, RESUMING);
    },
  ],
};

async function afterPreCopy(world: World, event: () => Promise<void>, state: MigrationState): Promise<void> {
  if (world.server.migration.state === RUNNING) await world.set(PRE_COPY);
  await event();
  await seenByBoth(world, state);
}

const readErrno = async (client: RawClient): Promise<number> => (await readData(client, 100)).error;

/** Reads the beginning of a session that is opened in PRE_COPY. */
async function begin(world: World): Promise<Uint8Array> {
  await world.set(PRE_COPY);
  const reply = await readData(world.control, 10_000);
  expect(reply.error).toBe(0);
  return dataOf(reply);
}

/** Reads the rest of the session, and sees that both parts are one whole state. */
async function finish(world: World, head: Uint8Array): Promise<void> {
  const control = await world.controller();
  const rest = world.server.migration.state === PRE_COPY ? await readAll(control) : Buffer.alloc(0);
  await world.set(STOP_COPY);
  const state = Buffer.concat([head, rest, await readAll(control)]);
  const other = await another(world);
  await loadState(other.control, state);
  expect(await setState(other.control, STOP)).toBe(0);
}

/** The data session, by column. */
export const dataSession: Flow = {
  owner: [
    'who opened it',
    async (world) => {
      const head = await begin(world);
      for (const stranger of [world.main, await world.served.control(EVERYTHING)]) {
        expect(await readErrno(stranger)).toBe(EBUSY);
        expect(await setState(stranger, STOP_COPY)).toBe(EBUSY);
        expect(await setState(stranger, RUNNING)).toBe(EBUSY);
      }
      await finish(world, head);
    },
  ],
  'DEVICE_RESET by the VMM': [
    'aborted',
    async (world) => {
      await begin(world);
      await world.reset(world.main);
      expect(await readErrno(world.control)).toBe(ENODEV);
      expect(await setState(world.control, STOP_COPY)).toBe(ENODEV);
      expect(await getState(world.control)).toBe(RUNNING);
      expect(await readErrno(world.control)).toBe(EINVAL);
      await finish(world, await begin(world));
    },
  ],
  'reset by the control side': [
    'ended',
    async (world) => {
      await begin(world);
      await world.reset(world.control);
      expect(await readErrno(world.control)).toBe(EINVAL);
      await finish(world, await begin(world));
    },
  ],
  'main disconnects': [
    'kept',
    async (world) => {
      const head = await begin(world);
      await world.disconnectMain();
      await finish(world, head);
    },
  ],
  'control disconnects': [
    'kept',
    async (world) => {
      const head = await begin(world);
      await world.disconnectControl();
      await finish(world, head);
    },
  ],
  'leaving the running states': [
    'kept to STOP_COPY, ended by STOP',
    async (world) => {
      const head = await begin(world);
      await world.set(STOP_COPY);
      await finish(world, head);
      await world.set(RUNNING);
      await begin(world);
      await world.set(STOP);
      expect(await readErrno(world.control)).toBe(EINVAL);
    },
  ],
  'STOP_COPY, RESUMING': [
    'kept, opened',
    async (world) => {
      const head = await begin(world);
      await world.set(STOP_COPY);
      await world.disconnectMain();
      await finish(world, head);
      const state = await saveState((await another(world)).control);
      await world.set(RESUMING);
      expect(await writeData(world.control, state.subarray(0, 100))).toBe(0);
      expect(await writeData(await world.served.control(), state.subarray(100, 200))).toBe(EBUSY);
      expect(await writeAll(world.control, state.subarray(100))).toBe(0);
      await world.set(STOP);
    },
  ],
  'back to RUNNING': [
    'ended',
    async (world) => {
      await begin(world);
      await world.set(STOP_COPY);
      await world.set(RUNNING);
      expect(await readErrno(world.control)).toBe(EINVAL);
      expect(await setState(await world.served.control(), PRE_COPY), 'others may drive now').toBe(0);
    },
  ],
  "travels in the device's state": [
    'no',
    async (world) => {
      const other = await another(world);
      await other.loadFrom(world);
      await other.set(STOP);
      expect(await readErrno(other.control)).toBe(EINVAL);
      expect(await writeData(other.control, Buffer.alloc(4))).toBe(EINVAL);
    },
  ],
};
