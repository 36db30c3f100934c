import { afterEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { serveForTest, settle } from '../helpers/served.ts';
import { claim, OTHER_TOKEN } from './claim-driver.ts';
import { CONFIG, EVERYTHING, native, OwnedDevice, World } from './ownership-world.ts';
import { askReconnection } from './reconnection-driver.ts';

const { RUNNING, STOP, STOP_COPY } = MigrationState;
const { EINVAL, EBUSY, EKEYREVOKED, EPERM } = Errno;
const SCRATCH = 4;
const COMMAND = 0x04;
const BAR0 = 0x10;

const worlds: World[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.close();
});

async function opened(): Promise<World> {
  const world = await World.open();
  worlds.push(world);
  return world;
}

/** A VMM has used the device, and has gone; its state is kept. */
async function left(): Promise<World> {
  const world = await opened();
  await askReconnection(world.control, 'keep');
  await world.writeRegion(0, SCRATCH, 0x77);
  await world.writeRegion(CONFIG, BAR0, 0xfeb0_0000);
  await world.writeRegion(CONFIG, COMMAND, 6, 2);
  await world.disconnectMain();
  return world;
}

/** What QEMU does when it attaches to a device that it does not know. */
async function attach(world: World): Promise<void> {
  await world.vmm();
  await world.writeRegion(CONFIG, COMMAND, 0, 2);
  await world.reset(world.main);
  await world.writeRegion(CONFIG, BAR0, 0);
}

describe('a VMM that comes back to a state that is kept', () => {
  it('finds the state as it was when it goes on, whatever it has reset on attaching', async () => {
    const world = await left();
    expect(world.server.migration.state).toBe(STOP);
    await attach(world);
    const read = world.main.post(9, fields(BigInt(SCRATCH), 0, 4));
    expect(await world.main.receives((message) => message.id === read, 25), 'its accesses wait').toBe(false);
    const { configuration } = await askReconnection(world.control, 'continue');
    expect(configuration).toHaveLength(0);
    expect(Buffer.from((await world.main.reply(read)).payload).readUInt32LE(16)).toBe(0x77);
    expect(world.server.migration.state).toBe(RUNNING);
    expect(world.server.hold.active).toBe(false);
  });

  it('finds a reset device when that is decided, with what it has configured since its own reset', async () => {
    const world = await left();
    await attach(world);
    await world.writeRegion(CONFIG, BAR0, 0xfeb1_0000);
    await world.writeRegion(CONFIG, COMMAND, 2, 2);
    const answer = await askReconnection(world.control, 'reset');
    expect(answer).toMatchObject({ errno: 0, keep: false, kept: false, state: RUNNING });
    expect(world.peek(0, SCRATCH)).toBe(0);
    expect([world.peek(CONFIG, BAR0), world.peek(CONFIG, COMMAND, 2)]).toEqual([0xfeb1_0000, 2]);
    expect(await world.main.request(9, fields(0n, 0, 4))).toMatchObject({ error: 0 });
  });

  it('is given the configuration space of the moment when it left', async () => {
    const world = await left();
    await attach(world);
    const { argsz, configuration, withheld, returned } = await askReconnection(world.control, 'query');
    expect([withheld, returned, argsz]).toEqual([1, true, 24 + configuration.length]);
    expect([configuration.readUInt32LE(BAR0), configuration.readUInt16LE(COMMAND)]).toEqual([0xfeb0_0000, 6]);
    expect(world.peek(CONFIG, BAR0)).toBe(0);
    const short = await askReconnection(world.control, 'query', 24);
    expect([short.argsz, short.configuration.length]).toEqual([argsz, 0]);
  });

  it('may come and go until it is decided', async () => {
    const world = await left();
    for (let i = 0; i < 3; i++) {
      await attach(world);
      await world.disconnectMain();
    }
    expect(await askReconnection(world.control, 'query')).toMatchObject({ kept: true, returned: false });
    await attach(world);
    await askReconnection(world.control, 'continue');
    expect(world.peek(0, SCRATCH)).toBe(0x77);
  });

  it('gets the interrupt that came while it was away', async () => {
    const world = await opened();
    await askReconnection(world.control, 'keep');
    await world.writeRegion(CONFIG, world.capability(0x11) + 2, 0x8003, 2);
    await world.disconnectMain();
    world.server.device.regions[0]?.write(0x18, Uint8Array.of(2, 0, 0, 0), 0, 4);
    await world.giveEventfd(await world.vmm(), 2, 2);
    expect(native.eventfdRead(world.eventfd)).toBeLessThan(0);
    await askReconnection(world.control, 'continue');
    expect(world.signals()).toBe(1);
  });
});

describe('what a VMM was told last', () => {
  it.each(['continue', 'RUNNING'])(
    'is told again to the one that comes back, which may lack it (%s)',
    async (how) => {
      const world = await opened();
      await askReconnection(world.control, 'keep');
      await world.giveEventfd(world.main, 2, 1);
      await world.writeRegion(0, 0x18, 1);
      expect(world.signals(), 'the old VMM takes it, and is replaced').toBe(1);
      await world.disconnectMain();
      await world.giveEventfd(await world.vmm(), 2, 1);
      expect(world.signals()).toBe(0);
      if (how === 'continue') await askReconnection(world.control, 'continue');
      else await world.set(RUNNING);
      expect(world.signals()).toBe(1);
      expect(world.server.device.inspect().interrupts.pendingMsix).toEqual([]);
    },
  );
});

describe('a choice', () => {
  it('is refused when there is nothing to continue', async () => {
    const world = await opened();
    expect((await askReconnection(world.control, 'continue')).errno).toBe(EINVAL);
    await askReconnection(world.control, 'keep');
    await world.disconnectMain();
    expect((await askReconnection(world.control, 'continue')).errno, 'nobody has come yet').toBe(EINVAL);
  });

  it('belongs on the control socket, to a client that has agreed on it', async () => {
    const world = await opened();
    expect((await askReconnection(world.main, 'keep')).errno).toBe(EPERM);
    const stranger = await world.served.control('{"capabilities":{}}');
    expect((await askReconnection(stranger, 'keep')).errno).toBe(EINVAL);
    expect((await world.control.request(0xfe04, fields(24, 0, 4, 0))).error).toBe(EINVAL);
    expect((await world.control.request(0xfe04, fields(23, 0, 0, 0))).error).toBe(EINVAL);
  });

  it('is of no effect on a VMM that is there: what it resets is reset', async () => {
    const world = await opened();
    await askReconnection(world.control, 'keep');
    await world.writeRegion(0, SCRATCH, 1);
    await world.reset(world.main);
    expect(world.peek(0, SCRATCH)).toBe(0);
    await world.writeRegion(0, SCRATCH, 1);
    await askReconnection(world.control, 'reset');
    expect(world.peek(0, SCRATCH)).toBe(1);
  });

  it('is left to the migration that has claimed the device, which is not stopped', async () => {
    const world = await opened();
    await askReconnection(world.control, 'keep');
    await claim(world.control, 'claim');
    await world.disconnectMain();
    expect(world.server.migration.state).toBe(RUNNING);
    await world.reset(await world.vmm());
    const stranger = await world.served.control(EVERYTHING);
    expect((await askReconnection(stranger, 'continue')).errno).toBe(EBUSY);
    expect((await askReconnection(stranger, 'reset')).errno).toBe(EBUSY);
    expect((await askReconnection(world.control, 'continue')).errno).toBe(0);
  });

  it('never makes a retired device run', async () => {
    const world = await left();
    await world.set(STOP_COPY);
    await claim(world.control, 'claim', 1n, OTHER_TOKEN);
    await claim(world.control, 'retire', 1n, OTHER_TOKEN);
    await world.reset(await world.vmm());
    expect((await askReconnection(world.control, 'continue')).errno).toBe(EKEYREVOKED);
    expect((await askReconnection(world.control, 'reset')).errno).toBe(EKEYREVOKED);
    expect(world.server.migration.state).toBe(STOP_COPY);
  });

  it('can be made before a VMM comes for the first time, for a state that was loaded', async () => {
    const source = await opened();
    await source.writeRegion(0, SCRATCH, 0x99);
    const world = await opened();
    await world.disconnectMain();
    await world.loadFrom(source);
    await askReconnection(world.control, 'keep');
    await world.vmm();
    await world.reset(world.main);
    await world.set(RUNNING);
    expect(world.peek(0, SCRATCH)).toBe(0x99);
    await world.reset(world.main);
    expect(world.peek(0, SCRATCH)).toBe(0);
  });
});

describe('a second VMM', () => {
  it('takes the place of the first when the state is kept and the control side has stopped the device', async () => {
    const world = await opened();
    await askReconnection(world.control, 'keep');
    await world.writeRegion(0, SCRATCH, 0x55);
    await world.set(STOP);
    const first = world.main;
    world.main = await world.served.main(EVERYTHING);
    await first.waitClosed();
    await attach(world);
    expect(await askReconnection(world.control, 'query')).toMatchObject({ returned: true, withheld: 1 });
    await world.set(RUNNING);
    expect(world.peek(0, SCRATCH)).toBe(0x55);
    expect(world.server.reconnection.view).toBeNull();
  });

  it.each([
    ['the device runs', async (world: World) => void (await askReconnection(world.control, 'keep'))],
    ['resets are to be carried out', (world: World) => world.set(STOP)],
  ])('is refused when %s', async (_, arrange) => {
    const world = await opened();
    await arrange(world);
    await expect(world.served.main(EVERYTHING)).rejects.toThrow(`errno ${EBUSY}`);
    expect(world.main.closed).toBe(false);
  });
});

describe('a server that is told to keep from the start', () => {
  it('keeps nothing before there was a VMM', async () => {
    const served = serveForTest(new OwnedDevice());
    try {
      expect(await askReconnection(await served.control(EVERYTHING), 'keep')).toMatchObject({
        keep: true,
        kept: false,
      });
    } finally {
      served.close();
    }
  });

  it('takes the first VMM for what it is, and keeps from the next on', async () => {
    const served = serveForTest(new OwnedDevice(), { onReconnect: 'keep' });
    try {
      const first = await served.main();
      await first.request(13);
      expect(served.server.reconnection.view).toBeNull();
      first.close();
      while (served.server.main !== null) await settle(1);
      expect(served.server.reconnection.view).toMatchObject({ returned: false });
    } finally {
      served.close();
    }
  });
});
