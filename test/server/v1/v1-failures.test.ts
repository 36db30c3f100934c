import { describe, expect, it } from 'vitest';
import { Errno } from '../../../src/errors/index.ts';
import { fields, type RawClient } from '../../helpers/raw-client.ts';
import { TestDevice } from '../../helpers/test-device.ts';
import { ScriptedMigration } from '../scripted-migration.ts';
import { testServers } from '../test-servers.ts';
import * as v1 from './v1-driver.ts';

const { ETIMEDOUT, EBUSY, ENODEV, EPROTO } = Errno;
const { world } = testServers();
const REGION_WRITE = 10;

/** A device whose arcs do as they are told. */
class Scripted extends TestDevice {
  readonly script = new ScriptedMigration(7);
  protected override createMigration(): ScriptedMigration {
    return this.script;
  }
}

const served = async (outcomes: ScriptedMigration['outcomes'], transitionTimeoutMs = 60_000) => {
  const made = await world(new Scripted(), { v1: {}, transitionTimeoutMs });
  made.device.script.outcomes = outcomes;
  return made;
};

/** Writes device_state without waiting; the id of the reply. */
function postState(client: RawClient, state: number): number {
  return client.post(REGION_WRITE, fields(0n, v1.REGION, 4, state));
}

describe('a change of device_state that fails half-way', () => {
  it('takes the device back to where it was, and its VMM is not held', async () => {
    const { device, control, server } = await served(['ok', 'fail']);
    expect(await v1.setState(control, 0b000)).toBe(EPROTO);
    expect(device.script.arcs).toEqual(['RUNNING>RUNNING_P2P', 'RUNNING_P2P>STOP', 'RUNNING_P2P>RUNNING']);
    expect([await v1.getState(control), server.hold.active]).toEqual([0b001, false]);
  });

  it('also when the arcs take time, and is answered when the device is back', async () => {
    const { device, main } = await served(['wait', 'wait', 'wait']);
    const id = postState(main, 0b000);
    await expect.poll(() => device.script.waiting.length).toBe(1);
    device.script.settle('ok');
    await expect.poll(() => device.script.waiting.length).toBe(1);
    device.script.settle('fail');
    await expect.poll(() => device.script.arcs.length).toBe(3);
    expect(await main.receives((message) => message.id === id, 20)).toBe(false);
    device.script.settle('ok');
    expect((await main.reply(id)).error).toBe(EPROTO);
    expect(await v1.getState(main)).toBe(0b001);
  });

  it('leaves the hold of a device that was held before', async () => {
    const { device, control, server } = await served([]);
    expect(await v1.setState(control, 0b010)).toBe(0);
    device.script.outcomes = ['ok', 'fail'];
    expect(await v1.setState(control, 0b001)).toBe(EPROTO);
    expect([await v1.getState(control), server.hold.active]).toEqual([0b010, true]);
    expect(await v1.setState(control, 0b001)).toBe(0);
    expect(server.hold.active).toBe(false);
  });

  it('and whose way back fails too ends in ERROR where v1 has no word for it', async () => {
    const { main } = await served(['ok', 'fail', 'fail']);
    expect(await v1.setState(main, 0b000)).toBe(EPROTO);
    expect(await v1.getState(main)).toBe(0b110);
    expect((await main.request(13)).error).toBe(0);
    expect(await v1.getState(main)).toBe(0b001);
  });
});

describe('a change of device_state that takes too long', () => {
  it('is answered with ETIMEDOUT, goes no further, and keeps others out until its step is over', async () => {
    const { device, main } = await served(['wait'], 30);
    expect(await v1.setState(main, 0b000)).toBe(ETIMEDOUT);
    expect(await v1.getState(main)).toBe(0b001);
    expect(await v1.setState(main, 0b001)).toBe(EBUSY);
    device.script.settle('ok');
    await expect.poll(async () => v1.setState(main, 0b000)).toBe(0);
    expect(device.script.arcs).toEqual(['RUNNING>RUNNING_P2P', 'RUNNING_P2P>STOP']);
    expect(await v1.getState(main)).toBe(0b000);
  });
});

describe('a reset in the middle of a change', () => {
  it('ends the change with ENODEV; the device runs, and is not taken anywhere after that', async () => {
    const { device, main, control } = await served(['wait']);
    const id = postState(control, 0b010);
    await expect.poll(() => device.script.waiting.length).toBe(1);
    expect((await main.request(13)).error).toBe(0);
    device.script.settle('ok');
    expect((await control.reply(id)).error).toBe(ENODEV);
    expect(device.script.arcs).toEqual(['RUNNING>RUNNING_P2P']);
    expect(await v1.setState(control, 0b010)).toBe(ENODEV);
    expect(await v1.getState(control)).toBe(0b001);
    expect(await v1.setState(control, 0b010)).toBe(0);
  });
});
