import { describe, expect, it } from 'vitest';
import { memory, PciDevice, u32 } from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields, type RawClient, rawMessage } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { until } from '../helpers/until.ts';
import { waits } from './held-device.ts';
import { getState, setState } from './migration-driver.ts';
import { testServers } from './test-servers.ts';

const { EBUSY, ENODEV } = Errno;
const { STOP, RUNNING, PRE_COPY } = MigrationState;
const READ = 9;
const WRITE = 10;
const MULTI = 15;
const DEVICE_RESET = 13;
const POSTED = 0x10;
const PMCSR = 0x44n;
const DEVICE_CONTROL = 0x50n;
const FLR = 0x8000;
const native = loadNative();
const { world } = testServers();

/** Waits in `work` for guest memory, as long as the test wants. */
class Endpoint extends PciDevice {
  override readonly identity = { kind: 'endpoint', vendor: 0x1af4, device: 0x10f4, classCode: 0xff0000 };
  readonly state = this.migratable({ value: u32({ initial: 7 }), busy: u32(), ram: memory(4096) });
  override readonly bars = {
    0: this.registers(4096, {
      0: {
        read: () => this.state.value,
        write: (value: number) => {
          this.state.value = value;
        },
      },
      4: {
        read: () => this.state.busy,
        write: (value: number) => {
          this.state.busy = value;
          this.kick();
        },
      },
    }),
  };
  override readonly interrupts = {};
  override readonly options = { express: true, powerManagement: { noSoftReset: false } };
  resets = 0;

  protected override async work(): Promise<void> {
    if (this.state.busy === 0) return;
    await this.dma.read(0n, 4);
    this.state.busy = 0;
  }

  protected override onReset(): void {
    this.resets++;
  }
}

const config = (offset: bigint, value: number) =>
  fields(offset, 7, 2, new Uint8Array(Uint16Array.of(value).buffer));
const flr = config(DEVICE_CONTROL, FLR);

async function valueAt(main: RawClient, offset = 0n, region = 0, size = 4): Promise<number> {
  const reply = await main.request(READ, fields(offset, region, size));
  return Buffer.from(reply.payload).readUIntLE(16, size);
}

async function started() {
  const made = await world(new Endpoint());
  await made.main.request(WRITE, fields(0n, 0, 4, 99));
  await made.main.request(WRITE, config(4n, 6));
  return made;
}

describe('a reset by Initiate FLR', () => {
  it.each([0, POSTED])(
    'resets the device like DEVICE_RESET, and keeps what is the VMM’s (flags %i)',
    async (flags) => {
      const { device, main, server } = await started();
      const guest = native.memfd('guest', 4096, true);
      await main.request(2, fields(32, 3, 0n, 0x1000n, 0x1000n), [guest]);
      native.close(guest);
      const id = main.post(WRITE, flr, flags);
      if (flags === 0) {
        const reply = await main.reply(id);
        expect([reply.error, reply.payload.length, reply.payload[12]]).toEqual([0, 16, 2]);
      }
      expect([await valueAt(main), await valueAt(main, 4n, 7, 2)]).toEqual([7, 0]);
      expect(await valueAt(main, DEVICE_CONTROL, 7, 2)).toBe(0x2810);
      expect([device.resets, server.memory.mapCount]).toEqual([1, 1]);
    },
  );

  it('is no reset when the write is refused or has no such bit', async () => {
    const { device, main, control } = await started();
    await main.request(WRITE, config(DEVICE_CONTROL, 0x2810));
    expect((await control.request(WRITE, flr)).error).not.toBe(0);
    expect([device.resets, await valueAt(main)]).toEqual([0, 99]);
  });

  it('comes by REGION_WRITE_MULTI as well, after the last of its writes', async () => {
    const { device, main } = await started();
    const one = (offset: bigint, region: number, count: number, data: bigint) =>
      fields(offset, region, count, data);
    const payload = Buffer.concat([fields(2n), one(DEVICE_CONTROL, 7, 2, BigInt(FLR)), one(0n, 0, 4, 5n)]);
    expect(await main.request(MULTI, payload)).toMatchObject({ error: 0 });
    expect([device.resets, await valueAt(main)]).toEqual([1, 7]);
  });

  it('does not wait for a DMA reply, and what follows it finds a device that was reset', async () => {
    const { device, main, server } = await started();
    await main.request(2, fields(32, 3, 0n, 0n, 0x1000n));
    await main.request(WRITE, fields(4n, 0, 4, 1));
    const asked = await main.next(({ command, flags }) => command === 11 && (flags & 0xf) === 0);
    expect(asked.command).toBe(11);
    expect((await valueAt(main, DEVICE_CONTROL + 2n, 7, 2)) & 0x20, 'transactions are pending').toBe(0x20);
    const id = main.post(WRITE, flr);
    const value = main.post(READ, fields(4n, 0, 4));
    expect((await main.reply(id)).error).toBe(0);
    expect(Buffer.from((await main.reply(value)).payload).readUInt32LE(16)).toBe(0);
    expect(await valueAt(main, DEVICE_CONTROL + 2n, 7, 2), 'the request is still under way').toBe(0x20);
    main.send(rawMessage(asked.id, 11, fields(0n, 4n, 0), 1));
    await until(() => server.device.inspect().outstandingDma === 0);
    expect(await valueAt(main, DEVICE_CONTROL + 2n, 7, 2)).toBe(0);
    expect(device.resets).toBe(1);
  });

  it('ends the data session of a controller, which is told ENODEV until it looks', async () => {
    const { main, control } = await started();
    expect(await setState(control, PRE_COPY)).toBe(0);
    expect((await main.request(WRITE, flr)).error).toBe(0);
    expect(await setState(control, STOP)).toBe(ENODEV);
    expect(await getState(control)).toBe(RUNNING);
    expect(await setState(control, STOP)).toBe(0);
  });

  it('is parked by a hold as DEVICE_RESET is, while other writes to the configuration space are served', async () => {
    const { device, main, control } = await started();
    await setState(control, STOP);
    expect((await main.request(WRITE, config(0x3cn, 0x0b))).error).toBe(0);
    const id = main.post(WRITE, flr);
    expect(await waits(main, id)).toBe(true);
    expect(device.resets).toBe(0);
    await setState(control, RUNNING);
    expect((await main.reply(id)).error).toBe(0);
    expect([device.resets, await valueAt(main)]).toEqual([1, 7]);
  });

  it('is parked in REGION_WRITE_MULTI too', async () => {
    const { device, main, control } = await started();
    await setState(control, STOP);
    const id = main.post(MULTI, Buffer.concat([fields(1n), fields(DEVICE_CONTROL, 7, 2, BigInt(FLR))]));
    expect(await waits(main, id)).toBe(true);
    await setState(control, RUNNING);
    expect((await main.reply(id)).error).toBe(0);
    expect(device.resets).toBe(1);
  });

  it('happens when the hold ends, where the VMM left meanwhile', async () => {
    const { device, main, control, server } = await started();
    await setState(control, STOP);
    main.post(WRITE, flr, POSTED);
    await settle(25);
    main.close();
    await until(() => server.main === null);
    expect(device.resets).toBe(0);
    await setState(control, RUNNING);
    expect([device.resets, device.state.value]).toEqual([1, 7]);
  });

  it('gets EBUSY when the hold has expired', async () => {
    const { device, main, control, server } = await world(new Endpoint(), { holdLimitMs: 10 });
    await setState(control, STOP);
    const id = main.post(WRITE, flr);
    expect((await main.reply(id)).error).toBe(EBUSY);
    await until(() => server.hold.expired);
    expect((await main.request(WRITE, flr)).error).toBe(EBUSY);
    expect((await main.request(DEVICE_RESET)).error).toBe(EBUSY);
    expect(device.resets).toBe(0);
  });
});

describe('the way from D3hot to D0 without No_Soft_Reset', () => {
  it('resets the device', async () => {
    const { device, main } = await started();
    await main.request(WRITE, config(PMCSR, 3));
    expect([await valueAt(main), device.resets]).toEqual([0xffff_ffff, 0]);
    expect((await main.request(WRITE, config(PMCSR, 0))).error).toBe(0);
    expect([await valueAt(main), await valueAt(main, PMCSR, 7, 2), device.resets]).toEqual([7, 0, 1]);
  });
});
