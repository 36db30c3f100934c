import { describe, expect, it } from 'vitest';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { isServed, read, valueIn, waits } from './held-device.ts';
import { loadState, saveState, setState } from './migration-driver.ts';
import { testServers } from './test-servers.ts';

const { STOP, RUNNING, RESUMING } = MigrationState;
const CONFIG = 7;
const { world } = testServers();

const configRead = fields(0x3cn, CONFIG, 1);
const configWrite = (line: number): Buffer => fields(0x3cn, CONFIG, 1, Buffer.of(line));

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
    expect(await waits(main, id)).toBe(true);
    await setState(control, STOP);
    expect(await waits(main, id)).toBe(true);
    await setState(control, RUNNING);
    expect(await main.reply(id)).toMatchObject({ error: 0 });
  });

  it('waits while the state is being loaded', async () => {
    const source = await world(new TestDevice());
    const { main, control } = await world(new TestDevice());
    const state = await saveState(source.control);
    await setState(control, RESUMING);
    const early = main.post(10, configWrite(5));
    expect(await waits(main, early)).toBe(true);
    await loadState(control, state);
    await setState(control, STOP);
    // What was parked stays in its place, whatever comes after it.
    expect(await waits(main, early)).toBe(true);
    await setState(control, RUNNING);
    expect(await main.reply(early)).toMatchObject({ error: 0 });
  });

  it('is answered at a destination in STOP', async () => {
    const source = await world(new TestDevice());
    const { main, control } = await world(new TestDevice());
    await loadState(control, await saveState(source.control));
    await setState(control, STOP);
    expect(await main.request(10, configWrite(6))).toMatchObject({ error: 0 });
    expect(await waits(main, main.post(9, read))).toBe(true);
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
