import { afterEach, describe, expect, it } from 'vitest';
import { memory, PciDevice, u32 } from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import type { ServeOptions } from '../../src/server/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields, type RawClient, type RawMessage } from '../helpers/raw-client.ts';
import { serveForTest, settle } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { readRegister } from './dma-device.ts';
import { getState, loadState, postState, readData, saveState, setState } from './migration-driver.ts';
import { ScriptedMigration } from './scripted-migration.ts';
import { until } from './until.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P } = MigrationState;
const { EBUSY, EINVAL, ENODEV, EPROTO, ETIMEDOUT } = Errno;
const POSTED = 0x10;
const CONFIG = 7;
const native = loadNative();

const open: ReturnType<typeof serveForTest>[] = [];
afterEach(() => {
  for (const served of open.splice(0)) served.close();
});

async function world<D extends PciDevice>(device: D, options: ServeOptions = {}) {
  const served = serveForTest(device, options);
  open.push(served);
  return {
    device,
    served,
    server: served.server,
    main: await served.main(),
    control: await served.control(),
  };
}

/** Notes what is written to its BAR, which breaks at 0x100. */
class Recorder extends PciDevice {
  override readonly identity = { kind: 'recorder', vendor: 0x1af4, device: 0x10f3, classCode: 0xff0000 };
  readonly written: number[] = [];
  readonly state = this.migratable({ value: u32(), ram: memory(4096) });
  override readonly bars = {
    0: this.callbacks(4096, {
      read: (_, target, at, length) => {
        target.fill(this.state.value, at, at + length);
      },
      write: (offset, source, at) => {
        if (offset === 0x100) throw new TypeError('a bug of the device');
        this.state.value = source[at] ?? 0;
        this.written.push(this.state.value);
      },
    }),
  };
  override readonly interrupts = { msix: 1 };
}

const write = (value: number, offset = 0n): Buffer => fields(offset, 0, 4, value);
const read = fields(0n, 0, 4);
const configRead = fields(0x3cn, CONFIG, 1);
const configWrite = (line: number): Buffer => fields(0x3cn, CONFIG, 1, Buffer.of(line));

/** Whether the reply with this id comes while a hold lasts. */
function comes(client: RawClient, id: number): Promise<boolean> {
  return client.receives((message) => message.id === id, 25);
}

/** Whether this command is answered while a hold lasts. */
function isServed(client: RawClient, command: number, payload: Buffer): Promise<boolean> {
  return comes(client, client.post(command, payload));
}

/** The first register in a reply to a read. */
function valueIn(reply: RawMessage | undefined): number {
  return reply?.payload[16] ?? -1;
}

describe('what a VMM does while its device is held', () => {
  it('waits in order, posted or not, and happens in order when the device runs again', async () => {
    const { device, main, control } = await world(new Recorder());
    await setState(control, STOP);
    main.post(10, write(1), POSTED);
    const first = main.post(9, read);
    main.post(10, write(2), POSTED);
    const second = main.post(10, write(3));
    const third = main.post(9, read);
    const reset = main.post(13);
    main.post(10, write(4), POSTED);
    const last = main.post(9, read);
    await settle(25);
    expect(device.written).toEqual([]);
    await setState(control, RUNNING);
    const replies = [];
    for (let i = 0; i < 5; i += 1) replies.push(await main.next());
    expect(replies.map(({ id }) => id)).toEqual([first, second, third, reset, last]);
    expect(replies.map(({ error }) => error)).toEqual([0, 0, 0, 0, 0]);
    expect([replies[0], replies[2], replies[4]].map(valueIn)).toEqual([1, 3, 4]);
    expect(device.written).toEqual([1, 2, 3, 4]);
  });

  it('is served as far as it concerns the VMM alone: that is how it prepares a destination before it runs', async () => {
    const source = await world(new TestDevice());
    const { main, control, server } = await world(new TestDevice());
    await source.main.request(10, fields(0x2n, 1, 0));
    await source.main.request(10, fields(0x18n, 0, 4, 2));
    await loadState(control, await saveState(source.control));
    const guest = native.memfd('guest', 4096, true);
    const eventfd = native.eventfd(0);
    expect(await main.request(2, fields(32, 3, 0n, 0x1000n, 0x1000n), [guest])).toMatchObject({ error: 0 });
    expect(await main.request(8, fields(20, 0x24, 0, 0, 1), [eventfd])).toMatchObject({ error: 0 });
    expect(await main.request(4, fields(16, 0, 0, 0))).toMatchObject({ error: 0 });
    expect(await main.request(5, fields(64, 0, 0, 0, 0n, 0n))).toMatchObject({ error: 0 });
    expect(server.memory.mapCount).toBe(1);
    expect(native.eventfdRead(eventfd), 'the interrupt of the source waits').toBeLessThan(0);
    await setState(control, STOP);
    await setState(control, RUNNING);
    expect(native.eventfdRead(eventfd), 'and is delivered at the destination').toBe(1);
    native.close(guest);
    native.close(eventfd);
  });

  it('waits behind the first access, also what would be served: order counts', async () => {
    const { main, control } = await world(new Recorder());
    await setState(control, STOP);
    const access = main.post(9, read);
    const info = main.post(4, fields(16, 0, 0, 0));
    expect(await comes(main, info)).toBe(false);
    await setState(control, RUNNING);
    expect((await main.next()).id).toBe(access);
    expect((await main.next()).id).toBe(info);
  });

  it('is not moved on by the VMM: neither its state nor its data', async () => {
    const { main, control, server } = await world(new TestDevice());
    await setState(control, STOP_COPY);
    control.close();
    await until(() => server.controls === 0);
    expect(await setState(main, RUNNING)).toBe(EBUSY);
    expect(await readData(main, 16)).toMatchObject({ error: EBUSY });
    expect(await main.request(18, fields(12, 4, 0))).toMatchObject({ error: EBUSY });
    expect(await getState(main)).toBe(STOP_COPY);
  });
});

describe('a hold', () => {
  it('goes on through RUNNING_P2P and PRE_COPY_P2P, and ends in PRE_COPY as in RUNNING', async () => {
    const { main, control } = await world(new TestDevice());
    for (const [states, end] of [
      [[RUNNING_P2P], RUNNING],
      [[RUNNING_P2P, PRE_COPY_P2P], PRE_COPY],
    ] as const) {
      await setState(control, STOP);
      const id = main.post(9, read);
      for (const state of states) {
        expect(await setState(control, state)).toBe(0);
        expect(await comes(main, id)).toBe(false);
      }
      expect(await setState(control, end)).toBe(0);
      expect(await main.reply(id)).toMatchObject({ error: 0 });
      expect(await setState(control, RUNNING)).toBe(0);
    }
  });

  it('ends with RUNNING after a reset by the control side, until which interrupts and accesses wait', async () => {
    const { main, control, server } = await world(new TestDevice());
    const eventfd = native.eventfd(0);
    await main.request(8, fields(20, 0x24, 2, 1, 1), [eventfd]);
    await setState(control, STOP_COPY);
    expect(await control.request(13)).toMatchObject({ error: 0 });
    expect(await getState(control)).toBe(RUNNING);
    const id = main.post(9, read);
    server.device.interrupts.raise(1);
    expect(await comes(main, id)).toBe(false);
    expect(native.eventfdRead(eventfd)).toBeLessThan(0);
    expect(await setState(control, RUNNING)).toBe(0);
    expect(await main.reply(id)).toMatchObject({ error: 0 });
    expect(native.eventfdRead(eventfd)).toBe(1);
    native.close(eventfd);
  });

  it('is not ended by a change that fails before it gets the device running', async () => {
    const { main, control } = await world(new TestDevice());
    await setState(control, STOP);
    await control.request(13);
    expect(await setState(control, 8)).toBe(EINVAL);
    expect(await setState(control, 0)).toBe(EINVAL);
    expect(await isServed(main, 9, read)).toBe(false);
  });

  it('begins when a controller moves a device on that its VMM has left stopped', async () => {
    const { served, main, control, server } = await world(new TestDevice());
    expect(await setState(main, STOP)).toBe(0);
    expect(await isServed(main, 9, read), 'nobody holds it').toBe(true);
    main.close();
    await until(() => server.main === null);
    expect(await setState(control, STOP_COPY)).toBe(0);
    const next = await served.main();
    const id = next.post(9, read);
    expect(await comes(next, id)).toBe(false);
    expect(await setState(control, RUNNING)).toBe(0);
    expect(await next.reply(id)).toMatchObject({ error: 0 });
  });

  it('tells its length, the longest, and how many there were', async () => {
    const { control, server } = await world(new TestDevice());
    await setState(control, STOP);
    await settle(30);
    expect(server.hold.report()).toMatchObject({ active: true, count: 1 });
    await setState(control, RUNNING);
    await setState(control, STOP);
    await setState(control, RUNNING);
    const { lengthMs, longestMs, ...rest } = server.hold.report();
    expect(rest).toEqual({ active: false, count: 2, expired: false, droppedWrites: 0 });
    expect(longestMs).toBeGreaterThanOrEqual(29);
    expect(lengthMs).toBeLessThan(longestMs);
  });
});

describe('a hold that lasts longer than a VMM waits', () => {
  const LIMIT = 120;

  async function expiring() {
    const made = await world(new Recorder(), { holdLimitMs: LIMIT });
    await setState(made.control, STOP_COPY);
    return made;
  }

  it('answers EBUSY to what waits, and drops and counts posted writes; what concerns the VMM alone is served', async () => {
    const { device, main, control, server, served } = await expiring();
    main.post(10, write(1), POSTED);
    const start = performance.now();
    const access = main.post(9, read);
    main.post(10, write(2), POSTED);
    const reset = main.post(13);
    const guest = native.memfd('guest', 4096, true);
    const map = main.post(2, fields(32, 3, 0n, 0x1000n, 0x1000n), 0, [guest]);
    native.close(guest);
    expect(await main.reply(access)).toMatchObject({ error: EBUSY, flags: 0x21 });
    expect(performance.now() - start).toBeGreaterThanOrEqual(LIMIT - 5);
    expect(await main.reply(reset)).toMatchObject({ error: EBUSY });
    expect(await main.reply(map)).toMatchObject({ error: 0 });
    expect(server.memory.mapCount).toBe(1);
    expect(server.hold.report()).toMatchObject({ active: true, expired: true, droppedWrites: 2 });
    expect(served.reported.map(({ code }) => code)).toContain('ERR_BUSY');
    await setState(control, RUNNING);
    expect(device.written).toEqual([]);
  });

  it('answers EBUSY at once from then on, until the device runs again', async () => {
    const { device, main, control, server } = await expiring();
    expect(await main.request(9, read)).toMatchObject({ error: EBUSY });
    const start = performance.now();
    expect(await main.request(9, read)).toMatchObject({ error: EBUSY });
    expect(await main.request(10, write(5))).toMatchObject({ error: EBUSY });
    expect(await main.request(13)).toMatchObject({ error: EBUSY });
    main.post(10, write(6), POSTED);
    expect(await main.request(4, fields(16, 0, 0, 0))).toMatchObject({ error: 0 });
    expect(performance.now() - start).toBeLessThan(LIMIT);
    expect(server.hold.droppedWrites).toBe(1);
    await setState(control, RUNNING);
    expect(await main.request(10, write(7))).toMatchObject({ error: 0 });
    expect(device.written).toEqual([7]);
    expect(server.hold.report()).toMatchObject({ expired: false, droppedWrites: 1 });
  });

  it('leaves the device where it is: only the control side may set it running', async () => {
    const { main, control } = await expiring();
    await main.request(9, read);
    expect(await setState(main, RUNNING)).toBe(EBUSY);
    expect(await getState(control)).toBe(STOP_COPY);
  });

  it('counts from when somebody waits, not from when it began', async () => {
    const { main, control, server } = await expiring();
    main.post(10, write(1), POSTED);
    await settle(LIMIT + 60);
    expect(server.hold.expired).toBe(false);
    const start = performance.now();
    expect(await main.request(9, read)).toMatchObject({ error: EBUSY });
    expect(performance.now() - start).toBeGreaterThanOrEqual(LIMIT - 5);
    await setState(control, RUNNING);
  });
});

describe('what a VMM wrote before it went away', () => {
  it('is written in order when the hold ends, before anything that the next VMM sent', async () => {
    const { device, served, main, control, server } = await world(new Recorder());
    await setState(control, STOP);
    main.post(10, write(1), POSTED);
    main.post(9, read);
    main.post(15, fields(2n, 0n, 0, 4, 2n, 0n, 0, 4, 3n), POSTED);
    main.post(10, write(4));
    await settle(10);
    main.close();
    await until(() => server.main === null);
    const next = await served.main();
    next.post(10, write(5), POSTED);
    await settle(10);
    expect(device.written).toEqual([]);
    await setState(control, RUNNING);
    await next.request(9, read);
    expect(device.written).toEqual([1, 2, 3, 4, 5]);
  });

  it('that the device breaks on is reported, and the rest goes on', async () => {
    const { device, served, main, control, server } = await world(new Recorder());
    await setState(control, STOP);
    main.post(10, write(9, 0x100n), POSTED);
    main.post(10, fields(0xfffn, 0, 4, 0), POSTED);
    main.post(10, write(8), POSTED);
    await settle(10);
    main.close();
    await until(() => server.main === null);
    expect(await setState(control, RUNNING)).toBe(0);
    expect(device.written).toEqual([8]);
    expect(served.reported.map(({ message }) => message)).toEqual([
      expect.stringContaining('a bug of the device'),
      expect.stringContaining('region 0'),
    ]);
    expect(await readRegister(await served.main(), 0)).toBe(0x08080808);
  });

  it('behind a reset that takes its time is written after the reset, hold or not', async () => {
    class Slow extends Recorder {
      finish = () => {};
      override async work(): Promise<void> {
        if (this.state.value === 1) await new Promise<void>((resolve) => (this.finish = resolve));
      }
      start(): void {
        this.kick();
      }
    }
    const { device, main, server } = await world(new Slow());
    await main.request(10, write(1));
    device.start();
    const reset = main.post(13);
    main.post(10, write(2), POSTED);
    expect(await comes(main, reset)).toBe(false);
    main.close();
    await until(() => server.main === null);
    expect(device.written).toEqual([1]);
    device.finish();
    await until(() => device.written.length === 2);
    expect(device.state.value).toBe(2);
  });
});

describe('the configuration space of a held device', () => {
  it('is answered in STOP, and what is written there travels', async () => {
    const source = await world(new TestDevice());
    const destination = await world(new TestDevice());
    await setState(source.control, STOP);
    expect(await source.main.request(9, configRead)).toMatchObject({ error: 0 });
    expect(await source.main.request(10, configWrite(9))).toMatchObject({ error: 0 });
    await loadState(destination.control, await saveState(source.control));
    await setState(destination.control, STOP);
    expect(valueIn(await destination.main.request(9, configRead))).toBe(9);
  });

  it('waits once the state has been taken away, in STOP after STOP_COPY too', async () => {
    const { main, control } = await world(new TestDevice());
    await saveState(control);
    const id = main.post(9, configRead);
    expect(await comes(main, id)).toBe(false);
    await setState(control, STOP);
    expect(await comes(main, id)).toBe(false);
    await setState(control, RUNNING);
    expect(await main.reply(id)).toMatchObject({ error: 0 });
  });

  it('waits while the state is being loaded', async () => {
    const source = await world(new TestDevice());
    const { main, control } = await world(new TestDevice());
    const state = await saveState(source.control);
    await setState(control, RESUMING);
    const early = main.post(10, configWrite(5));
    expect(await comes(main, early)).toBe(false);
    await loadState(control, state);
    await setState(control, STOP);
    // What was parked stays in its place, whatever comes after it.
    expect(await comes(main, early)).toBe(false);
    await setState(control, RUNNING);
    expect(await main.reply(early)).toMatchObject({ error: 0 });
  });

  it('is answered at a destination in STOP', async () => {
    const source = await world(new TestDevice());
    const { main, control } = await world(new TestDevice());
    await loadState(control, await saveState(source.control));
    await setState(control, STOP);
    expect(await main.request(10, configWrite(6))).toMatchObject({ error: 0 });
    expect(await isServed(main, 9, read)).toBe(false);
  });

  it('is answered in STOP again after a reset, for then the state is here', async () => {
    const { main, control } = await world(new TestDevice());
    await saveState(control);
    await control.request(13);
    await setState(control, STOP);
    expect(await isServed(main, 9, configRead)).toBe(true);
  });

  it('is answered in STOP whatever a client did that migrated its own device before', async () => {
    const { main, control } = await world(new TestDevice());
    await saveState(main);
    await setState(main, RUNNING);
    await setState(control, STOP);
    expect(await isServed(main, 9, configRead)).toBe(true);
  });
});

describe('a reset by the VMM in PRE_COPY', () => {
  it('is ENODEV to the controller until it notices, and then another migration works', async () => {
    const source = await world(new TestDevice());
    const destination = await world(new TestDevice());
    const { main, control } = source;
    await setState(control, PRE_COPY);
    expect((await readData(control, 1000)).error).toBe(0);
    expect(await main.request(13)).toMatchObject({ error: 0 });
    await main.request(10, fields(4n, 0, 4, 0x77));
    for (let again = 0; again < 2; again += 1) {
      expect((await readData(control, 1000)).error).toBe(ENODEV);
      expect(await setState(control, STOP_COPY)).toBe(ENODEV);
      expect(await control.request(16, fields(16, 0x1_0009))).toMatchObject({ error: ENODEV });
    }
    expect(await getState(control)).toBe(RUNNING);
    await loadState(destination.control, await saveState(control));
    expect(await setState(destination.control, RUNNING)).toBe(0);
    expect(await readRegister(destination.main, 4)).toBe(0x77);
  });
});

describe('a device that is slow or fails on the way', () => {
  /** A device whose migration does as the test says. */
  class Scripted extends TestDevice {
    readonly script = new ScriptedMigration(7);
    override createMigration(): ScriptedMigration {
      return this.script;
    }
  }

  it('that got to run and failed only then is no longer held', async () => {
    const { device, main, control } = await world(new Scripted());
    await setState(control, STOP);
    const id = main.post(9, read);
    expect(await comes(main, id)).toBe(false);
    device.script.outcomes = ['ok', 'ok', 'fail'];
    expect(await setState(control, PRE_COPY)).toBe(EPROTO);
    expect(await getState(control)).toBe(RUNNING);
    expect(await main.reply(id)).toMatchObject({ error: 0 });
  });

  it('is given up after the limit, and what it does later still counts', async () => {
    const { device, main, control } = await world(new Scripted(), { transitionTimeoutMs: 60 });
    await setState(control, STOP);
    const id = main.post(9, read);
    device.script.outcomes = ['ok', 'wait'];
    const start = performance.now();
    expect(await setState(control, RUNNING)).toBe(ETIMEDOUT);
    expect(performance.now() - start).toBeGreaterThanOrEqual(55);
    expect(await getState(control)).toBe(RUNNING_P2P);
    expect(await setState(control, STOP)).toBe(EBUSY);
    expect(await comes(main, id)).toBe(false);
    device.script.settle('ok');
    expect(await main.reply(id)).toMatchObject({ error: 0 });
    expect(await getState(control)).toBe(RUNNING);
  });

  it('keeps only its controller waiting, whose later commands come in order', async () => {
    const { device, served, main, control } = await world(new Scripted());
    device.script.outcomes = ['wait'];
    const change = postState(control, STOP);
    const after = control.post(9, fields(0n, CONFIG, 4));
    expect(await comes(control, after)).toBe(false);
    expect(await readRegister(main, 0)).toBe(0x600df00d);
    expect(await getState(await served.control())).toBe(RUNNING);
    device.script.settle('ok');
    expect((await control.next()).id).toBe(change);
    expect((await control.next()).id).toBe(after);
  });
});
