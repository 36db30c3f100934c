import { type DeviceClient, type GuestRegion, SyncDeviceClient, V1Device } from '../../src/client/index.ts';
import type { Random } from '../server/fuzz-messages.ts';

/** One call of a client, whichever; what it gives may be a promise. */
export type Call = (client: DeviceClient | SyncDeviceClient, random: Random, region: GuestRegion) => unknown;

const small = (random: Random): Uint8Array => new Uint8Array(1 + random.below(64));

/** Closes what a call gives, at once or later. */
function closed(given: { close(): void } | Promise<{ close(): void }>): unknown {
  return given instanceof Promise ? given.then((opened) => opened.close()) : given.close();
}

/** Every method of a client that sends something, with arguments that are right. */
export const calls: readonly Call[] = [
  (client) => client.info(),
  (client, random) => client.regionInfo(random.below(10)),
  (client, random) => client.irqInfo(random.below(5)),
  (client) => client.describe(),
  (client, random) => closed(client.mapRegion(random.below(3))),
  (client, random) => closed(client.openDoorbells(random.below(3))),
  // Not every caller closes: the client does, when it is closed.
  (client, random) => client.mapRegion(random.below(3)),
  (client, random) => client.openDoorbells(random.below(3)),
  (client, random) => client.read(random.pick([0, 7]), random.below(64), 1 + random.below(128)),
  (client, random) => client.write(0, random.below(64), small(random)),
  (client, random) => client.write(0, random.below(64), small(random), { posted: true }),
  (client) => client.readU8(0, 0),
  (client) => client.readU16(0, 2),
  (client) => client.readU32(0, 4),
  (client) => client.readU64(0, 8),
  (client) => client.writeU8(0, 4, 7),
  (client) => client.writeU16(0, 4, 7, { posted: true }),
  (client) => client.writeU32(0, 4, 7),
  (client) => client.writeU64(0, 8, 7n),
  (client) => client.writeMulti([{ region: 0, offset: 4, data: Uint8Array.of(1, 2, 3, 4) }]),
  (client, _, region) => client.mapMemory(region),
  (client, random, region) => client.unmapMemory(region, random.once(2) ? { dirtyPageSize: 4096n } : {}),
  (client) => client.unmapAll(),
  (client, random) => enableInterrupts(client, random.pick([0, 2]), 1 + random.below(2)),
  (client) => client.disableInterrupts(2),
  (client) => client.triggerIrq(2, 0, 1),
  (client) => client.maskIrq(0, 0, 1),
  (client) => client.unmaskIrq(0, 0, 1),
  (client) => client.reset(),
  (client, random) => client.probeFeature(random.below(12), 0),
  (client) => client.migrationFlags(),
  (client) => client.migrationState(),
  (client, random) => client.setMigrationState(1 + random.below(7)),
  (client) => client.migrationDataSize(),
  (client) => client.precopyInfo(),
  (client) => client.claimStatus(),
  (client) => client.claim(new Uint8Array(16).fill(1), 1n),
  (client) => client.release(new Uint8Array(16).fill(1), 1n),
  (client) => client.inspectServer(),
  (client, random) => client.reconnection(random.pick([null, 'keep', 'reset', 'continue'])),
  (client) => client.switchover({ do: 'QUERY' }),
  (client, random) => client.readMigrationData(1 + random.below(5000), () => {}),
  (client, random) => client.readMigrationDataInto(new Uint8Array(1 + random.below(5000))),
  (client, random) => client.writeMigrationData(new Uint8Array(1 + random.below(5000))),
  (client) => client.startDmaLogging(4096n, [{ iova: 0x10_0000n, length: 0x1_0000n }]),
  (client) => client.dmaLog(0x10_0000n, 0x1_0000n, 4096n),
  (client) => client.stopDmaLogging(),
  moveByV1,
];

function enableInterrupts(client: DeviceClient | SyncDeviceClient, index: number, count: number): unknown {
  if (!(client instanceof SyncDeviceClient)) return client.enableInterrupts(index, count, () => {});
  client.enableInterrupts(index, count);
  return client.waitInterrupt(index, 0, 0);
}

/** Drives a migration region of v1, if the server has one today. */
async function drive(client: DeviceClient, random: Random): Promise<void> {
  const device = await V1Device.open(client, { map: random.once(2), maxPiece: 1024 * 1024 });
  if (device === null) return;
  await device.state();
  await device.setState(random.pick([1, 2, 3, 4]));
  await device.pendingBytes();
  await device.readPiece(() => {});
  await device.roomForPiece();
  await device.writePiece(small(random));
}

function moveByV1(client: DeviceClient | SyncDeviceClient, random: Random): unknown {
  return client instanceof SyncDeviceClient ? client.info() : drive(client, random);
}
