import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { Recorder, read, write } from './held-device.ts';
import { getState, setState } from './migration-driver.ts';
import { testServers } from './test-servers.ts';

const { RUNNING, STOP_COPY } = MigrationState;
const { EBUSY } = Errno;
const POSTED = 0x10;
const native = loadNative();
const { world } = testServers();

describe('a hold that lasts longer than a VMM waits', () => {
  const LIMIT = 120;

  async function expiring(holdLimitMs = LIMIT) {
    const made = await world(new Recorder(), { holdLimitMs });
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
    const limit = 500;
    const { device, main, control, server } = await expiring(limit);
    expect(await main.request(9, read)).toMatchObject({ error: EBUSY });
    let posted = 0;
    // A machine with other things to do may take as long by itself, but not each time.
    for (let took = limit; took >= limit; posted += 1) {
      const start = performance.now();
      expect(await main.request(9, read)).toMatchObject({ error: EBUSY });
      expect(await main.request(10, write(5))).toMatchObject({ error: EBUSY });
      expect(await main.request(13)).toMatchObject({ error: EBUSY });
      main.post(10, write(6), POSTED);
      expect(await main.request(4, fields(16, 0, 0, 0))).toMatchObject({ error: 0 });
      took = performance.now() - start;
    }
    expect(server.hold.droppedWrites).toBe(posted);
    await setState(control, RUNNING);
    expect(await main.request(10, write(7))).toMatchObject({ error: 0 });
    expect(device.written).toEqual([7]);
    expect(server.hold.report()).toMatchObject({ expired: false, droppedWrites: posted });
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
