import { afterEach, expect, it } from 'vitest';
import { DeviceClient, type RegionDoorbells } from '../../../src/client/index.ts';
import { NvmeDevice } from '../../../src/devices/index.ts';
import { serveForTest } from '../../helpers/served.ts';
import { NvmeDriver } from './driver.ts';
import { Guest } from './guest.ts';

const DOORBELLS = 0x1000;

const closing: { close(): void }[] = [];
afterEach(() => {
  for (const one of closing.splice(0).reverse()) one.close();
});

function closed<T extends { close(): void }>(one: T): T {
  closing.push(one);
  return one;
}

/** A driver that rings its doorbells as KVM does for a guest, and writes registers where it is asked for the rest. */
class RingingDriver extends NvmeDriver {
  bells: RegionDoorbells['doorbells'] = [];

  override write(offset: number, value: number | bigint, length = 4): void {
    if (offset < DOORBELLS) return super.write(offset, value, length);
    const bell = this.bells.find((each) => each.offset === BigInt(offset));
    if (bell === undefined) throw new Error(`there is no doorbell at 0x${offset.toString(16)}`);
    bell.ring(BigInt(value));
  }
}

it('offers the doorbells of its queues: a driver that rings them writes and reads', async () => {
  const { server, socketPath } = closed(serveForTest(new NvmeDevice({ serial: 'BELLS', ram: 4 << 20 })));
  const client = closed(await DeviceClient.connect(socketPath));
  const guest = closed(new Guest('mapped'));
  guest.mapInto(server);
  const driver = new RingingDriver(guest, server.device);
  const { doorbells } = await client.openDoorbells(0);
  driver.bells = doorbells;
  expect(doorbells.map(({ offset }) => offset)).toEqual(
    Array.from({ length: 15 }, (_, i) => BigInt(DOORBELLS + 4 * i)),
  );
  await driver.enable();
  const pair = await driver.createPair(1, 16);
  const page = guest.allocate(4096);
  for (let round = 1; round <= 50; round += 1) {
    guest.at(page, 4096).fill(round);
    const lba = [round, 0, 7];
    expect(await driver.on(pair, { opcode: 1, namespace: 1, prp1: page, dwords: lba })).toMatchObject({
      status: 0,
    });
    guest.at(page, 4096).fill(0);
    expect(await driver.on(pair, { opcode: 2, namespace: 1, prp1: page, dwords: lba })).toMatchObject({
      status: 0,
    });
    expect(guest.at(page, 4096)).toEqual(new Uint8Array(4096).fill(round));
  }
});
