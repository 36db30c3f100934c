import { expect } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields, type RawClient } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
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
import { EVERYTHING, native, World } from './ownership-world.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY } = MigrationState;
const { EBUSY, EINVAL, ENODEV } = Errno;

/** What a cell says, and the proof. */
export type Proof = readonly [cell: string, prove: (world: World) => Promise<void>];

/** A row whose cells are different stories, by column. */
export type Flow = Readonly<Record<string, Proof>>;

async function seenByBoth(world: World, state: MigrationState): Promise<void> {
  expect(await getState(await world.vmm())).toBe(state);
  expect(await getState(await world.controller())).toBe(state);
}

/** A second device, which the world takes down with it. */
async function another(world: World): Promise<World> {
  const other = await World.open();
  world.cleanup(() => other.close());
  return other;
}

const migrationState: Flow = {
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

const dataSession: Flow = {
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

/** Whether a register read of the VMM waits. */
async function isHeld(world: World): Promise<boolean> {
  return !(await world.answers(await world.vmm()));
}

async function held(world: World, event: () => Promise<unknown>): Promise<void> {
  await world.set(STOP);
  expect(await isHeld(world)).toBe(true);
  await event();
  expect(world.server.hold.active).toBe(true);
  await world.disconnectMain();
  expect(await isHeld(world)).toBe(true);
}

const hold: Flow = {
  owner: [
    'control side',
    async (world) => {
      await world.set(STOP);
      expect(await setState(world.main, RUNNING)).toBe(EBUSY);
      expect(await isHeld(world)).toBe(true);
    },
  ],
  'DEVICE_RESET by the VMM': [
    'parked',
    async (world) => {
      await world.set(STOP);
      const id = world.main.post(13);
      expect(await world.main.receives((message) => message.id === id, 25)).toBe(false);
      expect(world.server.hold.active).toBe(true);
      await world.set(RUNNING);
      expect(await world.main.reply(id)).toMatchObject({ error: 0 });
    },
  ],
  'reset by the control side': ['kept', (world) => held(world, () => world.reset(world.control))],
  'main disconnects': ['kept', (world) => held(world, () => world.disconnectMain())],
  'control disconnects': ['kept', (world) => held(world, () => world.disconnectControl())],
  'leaving the running states': [
    'begins',
    async (world) => {
      await world.set(PRE_COPY);
      expect(await isHeld(world)).toBe(false);
      await world.set(STOP);
      expect(await isHeld(world)).toBe(true);
    },
  ],
  'STOP_COPY, RESUMING': [
    'kept',
    async (world) => {
      await held(world, () => world.set(STOP_COPY));
      await held(world, () => world.set(RESUMING));
    },
  ],
  'back to RUNNING': [
    'ends',
    async (world) => {
      await world.set(STOP);
      await world.set(RUNNING);
      expect(await isHeld(world)).toBe(false);
      expect(world.server.hold.active).toBe(false);
    },
  ],
  "travels in the device's state": [
    'no',
    async (world) => {
      const other = await another(world);
      await other.loadFrom(world);
      await other.set(RUNNING);
      expect(await isHeld(other)).toBe(false);
      expect(await isHeld(world)).toBe(true);
    },
  ],
};

/** Three commands that a held VMM has sent: a posted write of 1, a read, a posted write of 2. */
async function park(world: World): Promise<number> {
  await world.set(STOP);
  world.main.post(10, world.writeOf(0, 4, 1), 0x10);
  const read = world.main.post(9, fields(4n, 0, 4));
  world.main.post(10, world.writeOf(0, 4, 2), 0x10);
  await settle(10);
  expect(world.server.main?.connection.heldCommands).toBe(3);
  return read;
}

/** The hold ends: the commands are carried out in order. */
async function release(world: World, read: number): Promise<void> {
  expect(world.device.state.scratch).not.toBe(2);
  await world.set(RUNNING);
  const reply = await world.main.reply(read);
  expect(Buffer.from(reply.payload).readUInt32LE(16), 'what the write before has written').toBe(1);
  expect(world.device.state.scratch).toBe(2);
}

async function keptParked(world: World, event: () => Promise<void>): Promise<void> {
  const read = await park(world);
  await event();
  expect(await world.main.receives((message) => message.id === read, 25)).toBe(false);
  await release(world, read);
}

const parkedCommands: Flow = {
  owner: [
    'main connection',
    async (world) => {
      const read = await park(world);
      const { error } = await world.control.request(9, fields(0n, 7, 4));
      expect(error, "the control side's own commands do not wait").toBe(0);
      expect((await world.control.request(10, world.writeOf(0, 4, 3))).error).toBe(Errno.EPERM);
      await release(world, read);
    },
  ],
  'DEVICE_RESET by the VMM': [
    'parked',
    async (world) => {
      const read = await park(world);
      const reset = world.main.post(13);
      expect(await world.main.receives(() => true, 25)).toBe(false);
      await world.set(RUNNING);
      expect((await world.main.next()).id).toBe(read);
      expect((await world.main.next()).id).toBe(reset);
      expect(world.device.state.scratch, 'the reset came after the writes').toBe(0);
    },
  ],
  'reset by the control side': ['kept', (world) => keptParked(world, () => world.reset(world.control))],
  'main disconnects': [
    'writes kept',
    async (world) => {
      await park(world);
      await world.disconnectMain();
      expect(world.device.state.scratch).toBe(0);
      await world.set(RUNNING);
      expect(world.device.state.scratch).toBe(2);
    },
  ],
  'control disconnects': ['kept', (world) => keptParked(world, () => world.disconnectControl())],
  'leaving the running states': ['parked', (world) => keptParked(world, () => settle(1))],
  'STOP_COPY, RESUMING': [
    'kept',
    async (world) => {
      await keptParked(world, () => world.set(STOP_COPY));
      world.device.state.scratch = 0;
      const donor = await another(world);
      await keptParked(world, () => world.loadFrom(donor));
    },
  ],
  'back to RUNNING': [
    'answered',
    async (world) => {
      await release(world, await park(world));
    },
  ],
  "travels in the device's state": [
    'no',
    async (world) => {
      await park(world);
      const other = await another(world);
      await other.loadFrom(world);
      await other.set(RUNNING);
      expect(other.device.state.scratch).toBe(0);
      expect(world.server.main?.connection.heldCommands).toBe(3);
    },
  ],
};

/** The rows whose cells are different stories, by their name in the table. */
export const flows: ReadonlyMap<string, Flow> = new Map([
  ['migration state', migrationState],
  ['data session', dataSession],
  ['hold', hold],
  ['parked commands', parkedCommands],
]);

/** Interrupts that were pending are signalled when the device runs again: MSI-X by a new eventfd, INTx as a level. */
export async function proveDelivered(): Promise<void> {
  for (const msix of [true, false]) {
    const world = await World.open();
    if (msix) await world.writeRegion(7, world.capability(0x11) + 2, 0x8003, 2);
    await world.writeRegion(0, 0x18, msix ? 2 : 0);
    await world.set(STOP);
    await world.giveEventfd(world.main, msix ? 2 : 0, msix ? 2 : 0);
    expect(native.eventfdRead(world.eventfd)).toBeLessThan(0);
    await world.set(RUNNING);
    expect(world.signals()).toBe(1);
    const { level, pendingMsix } = world.server.device.inspect().interrupts;
    expect([level, pendingMsix.length]).toEqual([!msix, 0]);
    world.close();
  }
}
