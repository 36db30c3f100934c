import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState, stateName } from '../../src/states/index.ts';
import { fields, type RawClient } from '../helpers/raw-client.ts';
import { dataOf, readData, saveState, setState } from './migration-driver.ts';
import { testServers } from './test-servers.ts';
import { fillTiny, Tiny } from './tiny-device.ts';

const { STOP, RUNNING, STOP_COPY, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P } = MigrationState;
const { EINVAL } = Errno;
const GET = 0x1_0000;
const FERRY = '{"capabilities":{"ferry":{"precopy_info":true}}}';
const { serve, controlled } = testServers();

async function saved(): Promise<Buffer> {
  const { device, control } = await controlled(new Tiny());
  fillTiny(device);
  return saveState(control);
}

describe('estimates', () => {
  const sizeOf = async (control: RawClient): Promise<number> => {
    const reply = await control.request(16, fields(16, GET | 9));
    expect(reply.error).toBe(0);
    return Number(Buffer.from(reply.payload).readBigUInt64LE(8));
  };

  it('MIG_DATA_SIZE is an upper bound of what is left, in every state', async () => {
    const { device, control } = await controlled(new Tiny());
    device.state.ram.bytes.fill(0x77);
    const whole = await saved().then(({ length }) => length);
    for (const state of [RUNNING, RUNNING_P2P, STOP, PRE_COPY, PRE_COPY_P2P]) {
      await setState(control, state);
      expect(await sizeOf(control), stateName(state)).toBeGreaterThanOrEqual(whole);
    }
    await setState(control, STOP_COPY);
    for (let left = await sizeOf(control); ; left = await sizeOf(control)) {
      const taken = dataOf(await readData(control, 1000)).length;
      if (taken === 0) break;
      expect(await sizeOf(control)).toBeLessThanOrEqual(left - taken + 1000);
      expect(left).toBeGreaterThanOrEqual(taken);
    }
  });

  it('of PRE_COPY go down as the state is read, and up again when the device writes', async () => {
    const { served, control } = await controlled(new Tiny(), FERRY);
    const main = await served.main();
    const info = async (): Promise<number> => {
      const reply = await control.request(0xfe01, fields(24, 0));
      expect(reply).toMatchObject({ error: 0 });
      const payload = Buffer.from(reply.payload);
      expect(payload).toHaveLength(24);
      return Number(payload.readBigUInt64LE(8) + payload.readBigUInt64LE(16));
    };
    await setState(control, PRE_COPY);
    let left = await info();
    expect(left).toBeGreaterThan(0);
    for (let length = 1; length > 0; ) {
      length = dataOf(await readData(control, 500)).length;
      const now = await info();
      if (length > 0) expect(now).toBeLessThan(left);
      left = now;
    }
    expect(left).toBe(0);
    await main.request(10, fields(0n, 2, 4, 1));
    expect(await info()).toBeGreaterThanOrEqual(4096);
    await setState(control, STOP_COPY);
    expect(await control.request(0xfe01, fields(24, 0))).toMatchObject({ error: EINVAL });
  });

  it('are no command for who has not agreed on them', async () => {
    const served = serve(new Tiny());
    for (const client of [
      await served.control(),
      await served.main(),
      await served.control('{"capabilities":{"ferry":{}}}'),
    ]) {
      expect(await client.request(0xfe01, fields(24, 0))).toMatchObject({ error: EINVAL });
      expect(await client.request(0xfe02, fields(4096, 0))).toMatchObject({ error: EINVAL });
    }
  });

  it('and inspection are there for each who has', async () => {
    const served = serve(new Tiny());
    const json = '{"capabilities":{"ferry":{"inspect":true}}}';
    for (const client of [await served.control(json), await served.main(json)]) {
      const short = await client.request(0xfe02, fields(8, 0));
      const needed = Buffer.from(short.payload).readUInt32LE(0);
      expect(short.payload).toHaveLength(8);
      const reply = await client.request(0xfe02, fields(needed, 0));
      const report = JSON.parse(Buffer.from(reply.payload.subarray(8)).toString());
      expect(report).toMatchObject({
        identity: { kind: 'tiny' },
        migration: { flags: 7, state: 'RUNNING', sessionOwner: null, inTransition: false, lastError: null },
        hold: { active: false },
        main: { dmaMaps: 0 },
      });
    }
  });

  it('and inspection tells who the VMM is, and what it has shared', async () => {
    const served = serve(new Tiny());
    const control = await served.control('{"capabilities":{"ferry":{"inspect":true}}}');
    const main = async () => {
      const reply = await control.request(0xfe02, fields(65_536, 0));
      return JSON.parse(Buffer.from(reply.payload.subarray(8)).toString()).main;
    };
    expect(await main()).toMatchObject({ connected: false, pid: null });
    const vmm = await served.main();
    await vmm.request(2, fields(32, 3, 0n, 0x10_0000n, 0x1000n));
    expect(await main()).toMatchObject({
      connected: true,
      pid: process.pid,
      dmaMaps: 1,
      dmaDirect: '0',
      dmaByMessage: '4096',
    });
  });
});
