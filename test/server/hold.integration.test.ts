import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { until } from '../helpers/until.ts';
import { readRegister } from './dma-device.ts';
import { isServed, Recorder, read, valueIn, waits, write } from './held-device.ts';
import { getState, loadState, postState, readData, saveState, setState } from './migration-driver.ts';
import { ScriptedMigration } from './scripted-migration.ts';
import { testServers } from './test-servers.ts';

const { STOP, RUNNING, STOP_COPY, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P } = MigrationState;
const { EBUSY, EINVAL, ENODEV, EPROTO, ETIMEDOUT } = Errno;
const POSTED = 0x10;
const CONFIG = 7;
const native = loadNative();
const { world } = testServers();

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
    expect(await waits(main, info)).toBe(true);
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
        expect(await waits(main, id)).toBe(true);
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
    expect(await waits(main, id)).toBe(true);
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
    expect(await waits(main, main.post(9, read))).toBe(true);
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
    expect(await waits(next, id)).toBe(true);
    expect(await setState(control, RUNNING)).toBe(0);
    expect(await next.reply(id)).toMatchObject({ error: 0 });
  });

  it('tells its length, the longest, and how many there were', async () => {
    const { control, server } = await world(new TestDevice());
    await setState(control, STOP);
    await settle(300);
    expect(server.hold.report()).toMatchObject({ active: true, count: 1 });
    await setState(control, RUNNING);
    let count = 1;
    // A machine with other things to do may make the next one long, too.
    for (; server.hold.report().lengthMs >= 299; count += 1) {
      await setState(control, STOP);
      await setState(control, RUNNING);
    }
    const { lengthMs: _, longestMs, ...rest } = server.hold.report();
    expect(rest).toEqual({ active: false, count, expired: false, droppedWrites: 0 });
    expect(count).toBeGreaterThan(1);
    expect(longestMs).toBeGreaterThanOrEqual(299);
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
    expect(await waits(main, id)).toBe(true);
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
    expect(await waits(main, id)).toBe(true);
    device.script.settle('ok');
    expect(await main.reply(id)).toMatchObject({ error: 0 });
    expect(await getState(control)).toBe(RUNNING);
  });

  it('keeps only its controller waiting, whose later commands come in order', async () => {
    const { device, served, main, control } = await world(new Scripted());
    device.script.outcomes = ['wait'];
    const change = postState(control, STOP);
    const after = control.post(9, fields(0n, CONFIG, 4));
    expect(await waits(control, after)).toBe(true);
    expect(await readRegister(main, 0)).toBe(0x600df00d);
    expect(await getState(await served.control())).toBe(RUNNING);
    device.script.settle('ok');
    expect((await control.next()).id).toBe(change);
    expect((await control.next()).id).toBe(after);
  });
});
