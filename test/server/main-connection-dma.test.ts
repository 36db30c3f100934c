import { describe, expect, it } from 'vitest';
import type { PciDevice } from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import type { ServeOptions } from '../../src/server/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import type { RawClient, RawMessage } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { until } from '../helpers/until.ts';
import {
  answerDma,
  DmaDevice,
  Doorbell,
  dmaOf,
  isCommand,
  offerGuest,
  Reg,
  readRegister,
  ringDoorbell,
  writeRegisters,
} from './dma-device.ts';
import { getState, postState, setState } from './migration-driver.ts';
import { type Served, testServers } from './test-servers.ts';

const { ENODEV } = Errno;
const { STOP, RUNNING, RUNNING_P2P, PRE_COPY } = MigrationState;

let served: Served;
const servers = testServers();

function serve<D extends PciDevice>(device: D, options: ServeOptions = {}): D {
  served = servers.serve(device, options);
  return device;
}

/** VERSION data with these capabilities. */
function proposing(capabilities: object): string {
  return JSON.stringify({ capabilities });
}

describe('message DMA', () => {
  const guest = new Uint8Array(4 * 1024 * 1024).map((_, i) => (i * 31) >> 3);

  async function vmm(json?: string): Promise<RawClient> {
    const client = await served.main(json);
    await offerGuest(client, 0n, guest.length);
    return client;
  }

  /** A DMA_READ of 64 bytes is under way, and the client is in no hurry to answer it. */
  async function outstanding(): Promise<{ client: RawClient; message: RawMessage }> {
    const client = await vmm();
    ringDoorbell(client, Doorbell.READ, 0x1000, 64);
    return { client, message: await client.next(isCommand) };
  }

  it('is answered by the client only after its own register read is, as QEMU does it', async () => {
    const device = serve(new DmaDevice());
    const { client, message } = await outstanding();
    for (let again = 0; again < 3; again += 1)
      expect(await readRegister(client, Reg.DOORBELL)).toBe(Doorbell.READ);
    await client.request(10, writeRegisters(Reg.FAILED, 0));
    await answerDma(client, guest, message);
    await until(() => device.state.done === 1);
    expect(device.state.ram.bytes.subarray(0, 64)).toEqual(guest.subarray(0x1000, 0x1040));
  });

  it.each([
    ['RUNNING_P2P', RUNNING_P2P],
    ['STOP', STOP],
  ])('is waited for on the way to %s, while registers are answered', async (_, target) => {
    const device = serve(new DmaDevice());
    const { client, message } = await outstanding();
    const control = await served.control();
    const change = postState(control, target);
    expect(await control.receives(({ id }) => id === change, 25)).toBe(false);
    expect(await readRegister(client, Reg.DOORBELL)).toBe(Doorbell.READ);
    await client.request(10, writeRegisters(Reg.FAILED, 0));
    await answerDma(client, guest, message);
    expect(await control.reply(change)).toMatchObject({ error: 0 });
    expect(await getState(control)).toBe(target);
    expect(device.state.done).toBe(1);
  });

  it('does not keep a reset waiting, whose reply the client wants first', async () => {
    const device = serve(new DmaDevice());
    const { client, message } = await outstanding();
    expect(await client.request(13)).toMatchObject({ error: 0 });
    await answerDma(client, guest, message);
    expect(await readRegister(client, Reg.DOORBELL)).toBe(0);
    expect(device.state.done).toBe(0);
    expect(served.reported).toEqual([]);
  });

  it('does not keep a reset waiting in the middle of a transition, which is thereby over', async () => {
    const device = serve(new DmaDevice());
    const { client, message } = await outstanding();
    const control = await served.control();
    await setState(control, PRE_COPY);
    const change = postState(control, STOP);
    expect(await control.receives(({ id }) => id === change, 25)).toBe(false);
    expect(await client.request(13)).toMatchObject({ error: 0 });
    expect(await control.reply(change)).toMatchObject({ error: ENODEV });
    expect(await setState(control, STOP)).toBe(ENODEV);
    expect(await getState(control)).toBe(RUNNING);
    await answerDma(client, guest, message);
    expect(await setState(control, STOP)).toBe(0);
    expect(device.state.done).toBe(0);
    expect(served.reported).toEqual([]);
  });

  it('does not go on after its client has gone, and the transition that waited for it does', async () => {
    const device = serve(new DmaDevice());
    const { client } = await outstanding();
    const control = await served.control();
    const change = postState(control, STOP);
    await settle(10);
    client.close();
    expect(await control.reply(change)).toMatchObject({ error: 0 });
    expect(device.state.failed).toBe(1);
  });

  it.each([
    ['1 byte', 1, 40],
    ['4096 bytes', 4096, 10_000],
    ['1 MiB, and not more than its socket takes at once', 1024 * 1024, 3_000_000],
  ])('respects a client that takes %s', async (_, limit, length) => {
    const device = serve(new DmaDevice());
    const client = await vmm(proposing({ max_data_xfer_size: limit }));
    const most = Math.min(limit, 32 * 1024);
    const copy = new Uint8Array(guest.length);
    for (const [doorbell, memory] of [
      [Doorbell.READ, guest],
      [Doorbell.WRITE, copy],
    ] as const) {
      ringDoorbell(client, doorbell, 0, length);
      for (let done = 0; done < length; ) {
        const message = await client.next(isCommand);
        expect(dmaOf(message).count).toBe(Math.min(most, length - dmaOf(message).address));
        await answerDma(client, memory, message);
        done += dmaOf(message).count;
      }
    }
    await until(() => device.state.done === 2);
    expect(Buffer.compare(copy.subarray(0, length), guest.subarray(0, length))).toBe(0);
  });
});
