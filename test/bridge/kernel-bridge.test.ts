import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KernelBridge, type KernelBridgeOptions } from '../../src/bridge/index.ts';
import { DeviceClient, GuestMemory } from '../../src/client/index.ts';
import { deviceEnd, migrate } from '../../src/engine/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { KernelDevice } from '../../src/kernel/index.ts';
import { type RunningServer, serveDevice } from '../../src/server/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import type { FakeDriverOptions } from '../kernel/fake-driver.ts';
import { type FakeDevice, FakeKernel, type FakeKernelOptions } from '../kernel/fake-kernel.ts';
import { UUID } from '../kernel/opened.ts';

const IOVA = 0x10_0000n;

let folder: string;
let count = 0;
const closers: (() => void)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-test-'));
});

afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
  rmSync(folder, { recursive: true });
});

/** A device of a fake kernel behind a server. */
async function bridged(
  driver: FakeDriverOptions = {},
  options: FakeKernelOptions & KernelBridgeOptions = {},
): Promise<{ kernel: FakeKernel; fake: FakeDevice; device: KernelDevice; server: RunningServer }> {
  const kernel = new FakeKernel(options);
  const fake = kernel.add(UUID, driver);
  const device = await KernelDevice.open(UUID, { system: kernel, sysfs: kernel.sysfs });
  const bridge = await KernelBridge.over(device, options);
  const server = serveDevice(bridge, { socketPath: join(folder, `bridge-${++count}`) });
  closers.push(() => server.close());
  return { kernel, fake, device, server };
}

async function connected(path: string | null, memory?: GuestMemory): Promise<DeviceClient> {
  const client = await DeviceClient.connect(path ?? '', memory === undefined ? {} : { memory });
  closers.push(() => client.close());
  return client;
}

function guestMemory(): GuestMemory {
  const memory = new GuestMemory();
  closers.push(() => memory.close());
  return memory;
}

describe('a bridge', () => {
  it('gives the registers and the sizes that the device has', async () => {
    const { fake, server } = await bridged();
    const client = await connected(server.socketPath);
    await client.writeU8(0, 7, 0x5a);
    expect(fake.driver.registers[7]).toBe(0x5a);
    expect(await client.readU8(0, 7)).toBe(0x5a);
    const { regions, interrupts } = await client.describe();
    expect(regions.map(({ size }) => size)).toEqual([8n, 8n, 0n, 0n, 0n, 0n, 0n, 0xffn, 0n]);
    expect(interrupts.map(({ count: vectors }) => vectors)).toEqual([1, 4, 4, 0, 0]);
  });

  it('hands eventfds on to the kernel, and takes them back when their client has gone', async () => {
    const { fake, server } = await bridged();
    const client = await connected(server.socketPath);
    await client.enableInterrupts(1, 2, () => {});
    await client.maskIrq(1, 0, 1);
    await client.unmaskIrq(1, 0, 2);
    await client.triggerIrq(1, 1, 1);
    expect(fake.irqs.map(([flags, ...rest]) => [flags, ...rest.slice(0, 3)])).toEqual([
      [0x24, 1, 0, 2],
      [0x09, 1, 0, 1],
      [0x11, 1, 0, 2],
      [0x21, 1, 1, 1],
    ]);
    expect(fake.irqs[0]?.[4]).not.toContain('ffffffff');
    client.close();
    await expect.poll(() => fake.irqs.at(-1)).toEqual([0x21, 1, 0, 0, '']);
  });

  it('maps memory through the IOMMU for as long as its client does', async () => {
    const { kernel, fake, server } = await bridged();
    const memory = guestMemory();
    const client = await connected(server.socketPath, memory);
    const [first, second] = [
      memory.add({ iova: IOVA, size: 4096 }),
      memory.add({ iova: 2n * IOVA, size: 4096 }),
    ];
    await client.mapMemory(first);
    await client.mapMemory(second);
    expect([...fake.maps.keys()]).toEqual([IOVA, 2n * IOVA]);
    expect(kernel.dmaWrite(fake, IOVA, 1)).toBe(true);
    await client.unmapMemory(first);
    expect(kernel.dmaWrite(fake, IOVA, 1)).toBe(false);
    client.close();
    await expect.poll(() => fake.maps.size).toBe(0);
  });

  it.each([
    ['has no file', {}, 'message', 'start the VMM with shared memory'],
    ['the IOMMU refuses', { mapFails: Errno.ENOMEM }, 'mmap', 'ulimit'],
  ] as const)('tells by the control socket of memory that %s', async (_, options, access, why) => {
    const { server } = await bridged({}, options);
    const memory = guestMemory();
    const client = await connected(server.socketPath, memory);
    await client.mapMemory(memory.add({ iova: IOVA, size: 4096, access }));
    const control = await connected(server.controlPath);
    const report = JSON.stringify(await control.inspectServer());
    expect(report).toContain('the device does not reach 0x100000-0x100fff');
    expect(report).toContain(why);
    await client.unmapAll();
    expect(JSON.stringify(await control.inspectServer())).not.toContain('does not reach');
  });

  it('is migrated like any served device, to one and from one', async () => {
    const [a, b] = [await bridged({ dry: 'ENOMSG' }), await bridged({ dry: 'ENOMSG' })];
    a.fake.driver.registers.set([0x1b, 0, 0, 0, 0xa5], 3);
    const source = await deviceEnd(await connected(a.server.controlPath));
    const to = await deviceEnd(await connected(b.server.controlPath), source);
    const { bytes } = await migrate(source, to);
    expect(bytes.total).toBe(96);
    expect([...b.fake.driver.registers]).toEqual([...a.fake.driver.registers]);
    expect([a.fake.driver.state, b.fake.driver.state]).toEqual([MigrationState.STOP, MigrationState.RUNNING]);
  });

  it('tells a controller what the driver says, and where the device is', async () => {
    const { server, fake } = await bridged();
    const control = await connected(server.controlPath);
    await control.setMigrationState(MigrationState.RESUMING);
    await control.writeMigrationData(fake.driver.saved().subarray(0, 20));
    await expect(control.setMigrationState(MigrationState.STOP)).rejects.toMatchObject({
      ...{ code: 'ERR_STATE_CHANGE', errno: Errno.EINVAL, reached: MigrationState.RESUMING },
    });
    await control.reset();
    expect(await control.migrationState()).toBe(MigrationState.RUNNING);
  });

  it('lends no region unless told so', async () => {
    const { server } = await bridged();
    const client = await connected(server.socketPath);
    expect((await client.regionInfo(0)).mappable).toBe(false);
  });

  it('does not say that it can be reset when its driver can not', async () => {
    const { server } = await bridged({ flags: null, resettable: false });
    const client = await connected(server.socketPath);
    expect(await client.info()).toMatchObject({ resettable: false });
    expect(await client.migrationFlags()).toBe(null);
  });

  it('resets a device that was left in the middle of a migration', async () => {
    const kernel = new FakeKernel();
    const { driver } = kernel.add(UUID);
    driver.go(MigrationState.RESUMING);
    const device = await KernelDevice.open(UUID, { system: kernel, sysfs: kernel.sysfs });
    await KernelBridge.over(device);
    expect(driver.state).toBe(MigrationState.RUNNING);
    await device.dispose();
    expect(kernel.files.size).toBe(0);
  });

  it('lets go of the device when its server ends', async () => {
    const { kernel, server } = await bridged();
    server.close();
    await expect.poll(() => kernel.files.size).toBe(0);
  });
});
