import { describe, expect, it } from 'vitest';
import { Errno } from '../../../src/errors/index.ts';
import { fields, type RawClient } from '../../helpers/raw-client.ts';
import * as v1 from './v1-driver.ts';
import { v1Servers } from './v1-servers.ts';

const { EINVAL, EBUSY, ENODEV } = Errno;
const { served, withContent } = v1Servers();
const PAGE = 4096;

describe('who may drive', () => {
  const bothSilent = async (main: RawClient): Promise<void> => {
    expect(await v1.getState(main)).toBe(0b011);
    expect(await v1.setState(main, 0b001)).toBe(EBUSY);
    expect((await v1.read(main, v1.PENDING_BYTES, 8)).error).toBe(EBUSY);
    expect((await v1.read(main, v1.DATA_OFFSET, 8)).error).toBe(EBUSY);
    expect((await v1.read(main, PAGE, 8)).error).toBe(EBUSY);
  };

  it('is one connection at a time: others read the state, and get EBUSY for the rest', async () => {
    const { main, control } = await withContent();
    expect(await v1.setState(control, 0b011)).toBe(0);
    await bothSilent(main);
    expect((await v1.save(control)).length).toBeGreaterThan(0);
    expect(await v1.setState(control, 0b001)).toBe(0);
    expect(await v1.setState(main, 0b011)).toBe(0);
    expect(await v1.setState(control, 0b001)).toBe(EBUSY);
  });

  it('under a hold is the control side, also after its controller has gone', async () => {
    const { main, control, served: running, server } = await withContent();
    expect(await v1.setState(control, 0b010)).toBe(0);
    expect(server.hold.active).toBe(true);
    control.close();
    await expect.poll(() => server.controls).toBe(0);
    expect(await v1.getState(main)).toBe(0b010);
    expect(await v1.setState(main, 0b001)).toBe(EBUSY);
    expect((await v1.read(main, v1.PENDING_BYTES, 8)).error).toBe(EBUSY);
    const next = await running.control();
    expect(await v1.setState(next, 0b001)).toBe(0);
    expect(server.hold.active).toBe(false);
  });

  it('is not who has left with a change of state still unread: the next one drives', async () => {
    const { main, control, served: running, server } = await withContent();
    expect(await v1.setState(control, 0b010)).toBe(0);
    // The first write waits for the end of the hold, and the change of state behind it.
    main.post(10, fields(4n, 0, 4, 1));
    main.post(10, fields(0n, v1.REGION, 4, 0b011));
    await expect.poll(() => server.main?.connection.heldSince ?? null).not.toBe(null);
    main.close();
    await expect.poll(() => server.main).toBe(null);
    expect(await v1.setState(control, 0b001)).toBe(0);
    const next = await running.main();
    expect(await v1.getState(next)).toBe(0b001);
    expect((await control.request(13)).error).toBe(0);
    expect(await v1.setState(next, 0b011)).toBe(0);
  });

  it('holds a VMM on leaving the running states over the control socket, not over its own', async () => {
    const { main, server } = await withContent();
    expect(await v1.setState(main, 0b000)).toBe(0);
    expect(server.hold.active).toBe(false);
    expect(await v1.setState(main, 0b001)).toBe(0);
  });

  it('is told of a reset by somebody else before it goes on', async () => {
    const { main, control } = await withContent();
    expect(await v1.setState(control, 0b011)).toBe(0);
    expect(await v1.readWide(control, v1.PENDING_BYTES)).toBeGreaterThan(0);
    expect((await main.request(13)).error).toBe(0);
    expect(await v1.setState(control, 0b010)).toBe(ENODEV);
    expect(await v1.getState(control)).toBe(0b001);
    expect(await v1.readWide(control, v1.PENDING_BYTES)).toBe(0);
    expect(await v1.setState(control, 0b010)).toBe(0);
    expect(await v1.save(control)).toHaveLength(1);
  });

  it('keeps the state when the one that drives goes: nothing happens that nobody asked for', async () => {
    const { main, served: running, server } = await withContent();
    expect(await v1.setState(main, 0b011)).toBe(0);
    main.close();
    await expect.poll(() => server.main).toBe(null);
    const next = await running.main();
    expect(await v1.getState(next)).toBe(0b011);
    expect(await v1.setState(next, 0b001)).toBe(0);
  });
});

describe('a server that is told which rules to enforce', () => {
  it('refuses what libvfio-user refused', async () => {
    const { main } = await served({ rule: 'v1-libvfio-user' });
    expect(await v1.setState(main, 0b000)).toBe(0);
    expect(await v1.setState(main, 0b100)).toBe(EINVAL);
    expect(await v1.setState(main, 0b010)).toBe(EINVAL);
    expect(await v1.getState(main)).toBe(0b000);
  });

  it('refuses what the check of September 2021 lacked: resuming from running', async () => {
    const { main } = await served({ rule: 'v1-2021-09' });
    expect(await v1.setState(main, 0b100)).toBe(EINVAL);
    expect(await v1.setState(main, 0b000)).toBe(0);
    expect(await v1.setState(main, 0b100)).toBe(0);
  });

  it('takes what an open list does not name', async () => {
    const { main } = await served({ rule: 'v1-2019' });
    expect(await v1.setState(main, 0b010)).toBe(0);
    expect(await v1.setState(main, 0b000)).toBe(0);
  });

  it('takes every change between valid states unless told otherwise', async () => {
    const { main } = await served();
    const valid = [0b000, 0b001, 0b010, 0b011];
    for (const from of valid) {
      for (const to of valid) {
        expect(await v1.setState(main, from)).toBe(0);
        expect([await v1.setState(main, to), await v1.getState(main)], `${from} ${to}`).toEqual([0, to]);
      }
    }
  });

  it('does not start with rules or a data section that there are not', async () => {
    await expect(served({ rule: 'v1-2030' })).rejects.toThrow('v1-uapi');
    await expect(served({ rule: 'v2-7' })).rejects.toMatchObject({ errno: EINVAL });
    for (const dataSize of [0, 4095, 4097, 2 ** 40])
      await expect(served({ dataSize })).rejects.toThrow('pages');
  });
});
