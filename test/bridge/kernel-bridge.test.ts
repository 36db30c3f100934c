import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KernelBridge } from '../../src/bridge/index.ts';
import { deviceEnd, migrate } from '../../src/engine/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { KernelDevice } from '../../src/kernel/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { FakeKernel } from '../kernel/fake-kernel.ts';
import { UUID } from '../kernel/opened.ts';
import { BridgeLab } from './lab.ts';

let lab: BridgeLab;

beforeEach(() => {
  lab = new BridgeLab();
});

afterEach(() => lab.close());

describe('a bridge', () => {
  it('gives the registers and the sizes that the device has', async () => {
    const { fake, server } = await lab.bridged();
    const client = await lab.connected(server.socketPath);
    await client.writeU8(0, 7, 0x5a);
    expect(fake.driver.registers[7]).toBe(0x5a);
    expect(await client.readU8(0, 7)).toBe(0x5a);
    const { regions, interrupts } = await client.describe();
    expect(regions.map(({ size }) => size)).toEqual([8n, 8n, 0n, 0n, 0n, 0n, 0n, 0xffn, 0n]);
    expect(interrupts.map(({ count: vectors }) => vectors)).toEqual([1, 4, 4, 0, 0]);
  });

  it('hands eventfds on to the kernel, and takes them back when their client has gone', async () => {
    const { fake, server } = await lab.bridged();
    const client = await lab.connected(server.socketPath);
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

  it('is migrated like any served device, to one and from one', async () => {
    const [a, b] = [await lab.bridged({ dry: 'ENOMSG' }), await lab.bridged({ dry: 'ENOMSG' })];
    a.fake.driver.registers.set([0x1b, 0, 0, 0, 0xa5], 3);
    const source = await deviceEnd(await lab.connected(a.server.controlPath));
    const to = await deviceEnd(await lab.connected(b.server.controlPath), source);
    const { bytes } = await migrate(source, to);
    expect(bytes.total).toBe(96);
    expect([...b.fake.driver.registers]).toEqual([...a.fake.driver.registers]);
    expect([a.fake.driver.state, b.fake.driver.state]).toEqual([MigrationState.STOP, MigrationState.RUNNING]);
  });

  it('tells a controller what the driver says, and where the device is', async () => {
    const { server, fake } = await lab.bridged();
    const control = await lab.connected(server.controlPath);
    await control.setMigrationState(MigrationState.RESUMING);
    await control.writeMigrationData(fake.driver.saved().subarray(0, 20));
    await expect(control.setMigrationState(MigrationState.STOP)).rejects.toMatchObject({
      ...{ code: 'ERR_STATE_CHANGE', errno: Errno.EINVAL, reached: MigrationState.RESUMING },
    });
    await control.reset();
    expect(await control.migrationState()).toBe(MigrationState.RUNNING);
  });

  it('lends no region unless told so', async () => {
    const { server } = await lab.bridged();
    const client = await lab.connected(server.socketPath);
    expect((await client.regionInfo(0)).mappable).toBe(false);
  });

  it('does not say that it can be reset when its driver can not', async () => {
    const { server } = await lab.bridged({ flags: null, resettable: false });
    const client = await lab.connected(server.socketPath);
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
    const { kernel, server } = await lab.bridged();
    server.close();
    await expect.poll(() => kernel.files.size).toBe(0);
  });
});
