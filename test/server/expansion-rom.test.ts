import { expect, it } from 'vitest';
import { PciDevice } from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { testServers } from './test-servers.ts';

const ROM = 6;
const READABLE = 1;
const { world } = testServers();

class WithRom extends PciDevice {
  override readonly identity = { kind: 'with-rom', vendor: 0x1af4, device: 0x10f5, classCode: 0xff0000 };
  override readonly bars = {};
  override readonly interrupts = {};
  override readonly options = { rom: Uint8Array.of(0x55, 0xaa, 3, 4, 5) };
}

it('serves an expansion ROM: its size and that it is read only, its bytes, and no write', async () => {
  const { main } = await world(new WithRom());
  const info = await main.request(5, fields(32, 0, ROM, 0, 0n, 0n));
  const payload = Buffer.from(info.payload);
  expect([info.error, payload.readUInt32LE(4), payload.readBigUInt64LE(16)]).toEqual([0, READABLE, 2048n]);
  const read = await main.request(9, fields(0n, ROM, 6));
  expect([...read.payload.subarray(16)]).toEqual([0x55, 0xaa, 3, 4, 5, 0xff]);
  expect((await main.request(9, fields(2047n, ROM, 2))).error).toBe(Errno.EINVAL);
  expect((await main.request(10, fields(0n, ROM, 4, 0))).error).toBe(Errno.EINVAL);
});
