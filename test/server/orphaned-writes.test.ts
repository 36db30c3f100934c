import { describe, expect, it } from 'vitest';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { until } from '../helpers/until.ts';
import { readRegister } from './dma-device.ts';
import { Recorder, read, waits, write } from './held-device.ts';
import { setState } from './migration-driver.ts';
import { testServers } from './test-servers.ts';

const { STOP, RUNNING } = MigrationState;
const POSTED = 0x10;
const { world } = testServers();

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
    expect(await waits(main, reset)).toBe(true);
    main.close();
    await until(() => server.main === null);
    expect(device.written).toEqual([1]);
    device.finish();
    await until(() => device.written.length === 2);
    expect(device.state.value).toBe(2);
  });
});
