import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient, GuestMemory } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { IrqIndex, RegionIndex } from '../../src/protocol/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { serveForTest } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { until } from '../helpers/until.ts';
import { Cleanup, native } from './fake-server.ts';

const { RUNNING, PRE_COPY, STOP_COPY, STOP, RESUMING } = MigrationState;
const { CONFIG } = RegionIndex;
const RAM = 2;

/** COMMAND of configuration space, and its bits for memory accesses and bus mastering. */
const COMMAND = 0x04;
const MEMORY_AND_MASTER = 0x6;
/** Message control of MSI-X, in its capability, and its enable bit. */
const MSIX_CONTROL = 2;
const MSIX_ENABLE = 0x8000;

const cleanup = new Cleanup();
let before: string[] = [];
beforeEach(() => {
  before = openFds();
});
afterEach(() => {
  cleanup.run();
  expect(openFds()).toEqual(before);
});

function serve() {
  const served = serveForTest(new TestDevice());
  cleanup.add(() => served.close());
  return served;
}

async function connect(path: string, memory?: GuestMemory): Promise<DeviceClient> {
  const client = await DeviceClient.connect(path, { native, ...(memory === undefined ? {} : { memory }) });
  cleanup.add(() => client.close());
  return client;
}

function guest(): GuestMemory {
  const memory = new GuestMemory(native);
  cleanup.add(() => memory.close());
  return memory;
}

/** Does what a driver does at first: lets the device use the bus and send MSI-X. */
async function startDriver(client: DeviceClient): Promise<void> {
  const { config } = await client.describe();
  const msix = config?.capabilities.find(({ name }) => name === 'MSI-X');
  await client.writeU16(CONFIG, COMMAND, MEMORY_AND_MASTER);
  await client.writeU16(CONFIG, (msix?.offset ?? 0) + MSIX_CONTROL, MSIX_ENABLE);
}

/** Everything that a saving session gives until it is empty, for now or for good. */
async function drain(source: DeviceClient, consume: (chunk: Uint8Array) => void): Promise<number> {
  let total = 0;
  for (let count = -1; count !== 0; total += count) count = await source.readMigrationData(4096, consume);
  return total;
}

describe('DeviceClient with a served device', () => {
  it('describes it', async () => {
    const description = await (await connect(serve().socketPath)).describe();
    expect(description).toMatchObject({
      info: { resettable: true, pci: true, regionCount: 9, irqCount: 5 },
      config: { vendor: 0x1af4, device: 0x10f0, interruptPin: 1 },
      migration: { flags: 7n, state: RUNNING },
      server: { identity: { kind: 'test' }, migration: { state: 'RUNNING' } },
      refused: [],
    });
    expect(description.regions[RAM]).toMatchObject({ size: 0x10000n, mappable: true });
    expect(description.interrupts[IrqIndex.MSIX]).toMatchObject({ count: 4, eventfd: true });
  });

  it('accesses registers and memory, mapped and by message', async () => {
    const client = await connect(serve().socketPath);
    expect(await client.readU32(0, 0)).toBe(0x600d_f00d);
    await client.writeU32(0, 4, 0x1234_5678);
    await client.writeU32(0, 4, 0x9abc_def0, { posted: true });
    expect(await client.readU32(0, 4)).toBe(0x9abc_def0);
    const region = await client.mapRegion(RAM);
    const data = Buffer.from(Uint8Array.from({ length: 0x10000 }, (_, i) => (i * 13) & 0xff));
    await client.write(RAM, 0, data);
    expect(Buffer.from(region.areas[0]?.bytes ?? []).equals(data)).toBe(true);
    region.areas[0]?.bytes.set([1, 2, 3], 0x100);
    expect([...(await client.read(RAM, 0x0ff, 5))]).toEqual([data[0xff], 1, 2, 3, data[0x103]]);
    await expect(client.readU32(0, 0x1000)).rejects.toMatchObject({ errno: Errno.EINVAL });
    await client.writeMulti([
      { region: 0, offset: 4, data: Buffer.from([1, 0, 0, 0]) },
      { region: RAM, offset: 0, data: Buffer.from('ab') },
    ]);
    expect([await client.readU32(0, 4), await client.readU16(RAM, 0)]).toEqual([1, 0x6261]);
  });

  it.each(['mmap', 'file', 'message'] as const)(
    'gives it guest memory by %s, and gets its interrupt',
    async (access) => {
      const memory = guest();
      const region = memory.add({ iova: 0x10000n, size: 0x4000, access });
      const client = await connect(serve().socketPath, memory);
      await startDriver(client);
      const fired: number[] = [];
      await client.enableInterrupts(IrqIndex.MSIX, 4, (vector) => fired.push(vector));
      region.bytes.set(Buffer.from('from the guest'), 0x10);
      await client.writeU32(0, 0x0c, 0x10010);
      await client.writeU32(0, 0x10, 14);
      await until(() => fired.includes(1), 'the interrupt');
      expect(Buffer.from(await client.read(RAM, 0, 14)).toString()).toBe('from the guest');
      await client.unmapMemory(region);
      await client.writeU32(0, 0x10, 14);
      await client.triggerIrq(IrqIndex.MSIX, 3, 1);
      await until(() => fired.includes(3), 'the loopback');
      await client.disableInterrupts(IrqIndex.MSIX);
    },
  );

  it('reads registers while the device waits for a DMA message', async () => {
    const memory = guest();
    memory.add({ iova: 0x10000n, size: 0x4000, access: 'message' });
    const client = await connect(serve().socketPath, memory);
    await startDriver(client);
    await client.writeU32(0, 0x0c, 0x10000);
    const writes = client.writeU32(0, 0x10, 0x4000);
    const reads = await Promise.all(Array.from({ length: 50 }, () => client.readU32(0, 0)));
    await writes;
    expect(new Set(reads)).toEqual(new Set([0x600d_f00d]));
    await until(async () => (await client.readU32(0, 0x14)) === 1, 'the DMA');
  });

  it('moves it to another server, under its feet and with its memory', async () => {
    const [from, to] = [serve(), serve()];
    const vmm = await connect(from.socketPath);
    await vmm.writeU32(0, 4, 0xcafe);
    await vmm.write(RAM, 0, Buffer.alloc(0x10000, 0x5a));
    const [source, target] = [await connect(from.controlPath), await connect(to.controlPath)];
    await target.setMigrationState(RESUMING);
    await source.setMigrationState(PRE_COPY);
    expect(await source.precopyInfo()).toMatchObject({ initialBytes: expect.any(BigInt) });
    const writes: Promise<void>[] = [];
    const pass = (chunk: Uint8Array): void => {
      writes.push(target.writeMigrationData(chunk));
    };
    const early = await drain(source, pass);
    expect(early).toBeGreaterThan(1000);
    await vmm.write(RAM, 0x8000, Buffer.from('late'));
    await source.setMigrationState(STOP_COPY);
    expect(await source.migrationDataSize()).toBeGreaterThan(0n);
    await drain(source, pass);
    await Promise.all(writes);
    await target.setMigrationState(STOP);
    await source.setMigrationState(STOP);
    await target.setMigrationState(RUNNING);
    const moved = await connect(to.socketPath);
    expect(await moved.readU32(0, 4)).toBe(0xcafe);
    expect(Buffer.from(await moved.read(RAM, 0x7fff, 6)).toString('latin1')).toBe('ZlateZ');
    expect(await source.migrationState()).toBe(STOP);
  });

  it('learns that its session was reset by the VMM, and that another drives', async () => {
    const served = serve();
    const vmm = await connect(served.socketPath);
    const [first, second] = [await connect(served.controlPath), await connect(served.controlPath)];
    await first.setMigrationState(PRE_COPY);
    await expect(second.setMigrationState(STOP_COPY)).rejects.toMatchObject({
      code: 'ERR_SESSION_BUSY',
      requested: STOP_COPY,
      reached: PRE_COPY,
    });
    expect(await vmm.reset()).toEqual({ rung: 'reset', state: RUNNING });
    await expect(first.readMigrationData(100, () => {})).rejects.toMatchObject({
      code: 'ERR_SESSION_ABORTED',
    });
    await expect(first.setMigrationState(STOP_COPY)).rejects.toMatchObject({
      code: 'ERR_SESSION_ABORTED',
      reached: RUNNING,
    });
    await first.setMigrationState(PRE_COPY);
    expect(await first.reset()).toEqual({ rung: 'reset', state: RUNNING });
  });

  it('logs what the device writes by mapped memory', async () => {
    const memory = guest();
    memory.add({ iova: 0x10000n, size: 0x4000 });
    const client = await connect(serve().socketPath, memory);
    expect(await client.startDmaLogging(4096n, [{ iova: 0x10000n, length: 0x4000n }])).toBe(4096n);
    expect(await client.dmaLog(0x10000n, 0x4000n, 4096n)).toEqual(new Uint8Array(8));
    await client.stopDmaLogging();
    await expect(client.dmaLog(0x10000n, 0x4000n, 4096n)).rejects.toMatchObject({ errno: Errno.EINVAL });
  });

  it('uses a twin socket', async () => {
    const memory = guest();
    const region = memory.add({ iova: 0x10000n, size: 0x4000, access: 'message' });
    const client = await DeviceClient.connect(serve().socketPath, { native, memory, twinSocket: true });
    cleanup.add(() => client.close());
    expect(client.agreement.twinSocket).toBe(true);
    await startDriver(client);
    region.bytes.set(Buffer.from('by the twin'));
    await client.writeU32(0, 0x0c, 0x10000);
    await client.writeU32(0, 0x10, 11);
    await until(async () => (await client.readU32(0, 0x14)) === 1, 'the DMA');
    expect(Buffer.from(await client.read(RAM, 0, 11)).toString()).toBe('by the twin');
  });

  it('is refused while another VMM is there, and told why when the server goes', async () => {
    const served = serve();
    const first = await connect(served.socketPath);
    await expect(DeviceClient.connect(served.socketPath, { native })).rejects.toMatchObject({
      errno: expect.any(Number),
    });
    served.close();
    expect((await first.closed).code).toMatch(/^ERR_CONNECTION/);
    await expect(first.readU32(0, 0)).rejects.toBe(first.closedBecause);
  });
});
