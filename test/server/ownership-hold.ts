import { expect } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { setState } from './migration-driver.ts';
import { another, type Flow } from './ownership-flow.ts';
import { native, World } from './ownership-world.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY } = MigrationState;
const { EBUSY } = Errno;

/** Whether a register read of the VMM waits. */
async function isHeld(world: World): Promise<boolean> {
  return !(await world.answers(await world.vmm(), 25));
}

/** Whether a register read of the VMM is answered, however slow the machine is. */
async function isServed(world: World): Promise<boolean> {
  return world.answers(await world.vmm(), 10_000);
}

async function held(world: World, event: () => Promise<unknown>): Promise<void> {
  await world.set(STOP);
  expect(await isHeld(world)).toBe(true);
  await event();
  expect(world.server.hold.active).toBe(true);
  await world.disconnectMain();
  expect(await isHeld(world)).toBe(true);
}

/** The hold, by column. */
export const hold: Flow = {
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
      expect(await isServed(world)).toBe(true);
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
      expect(await isServed(world)).toBe(true);
      expect(world.server.hold.active).toBe(false);
    },
  ],
  "travels in the device's state": [
    'no',
    async (world) => {
      const other = await another(world);
      await other.loadFrom(world);
      await other.set(RUNNING);
      expect(await isServed(other)).toBe(true);
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

/** Parked commands, by column. */
export const parkedCommands: Flow = {
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
