import { afterEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../../src/client/index.ts';
import { Edu, MemoryDevice, MemoryRegister } from '../../../src/devices/index.ts';
import { clientEnd, MigrationError, migrate } from '../../../src/engine/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import { serveForTest } from '../../helpers/served.ts';

const SIZE = 4 * 1024 * 1024;
const { RUNNING, STOP } = MigrationState;
const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

async function serve(device: MemoryDevice | Edu) {
  const served = serveForTest(device);
  cleanups.push(() => served.close());
  const connect = async (path: string): Promise<DeviceClient> => {
    const client = await DeviceClient.connect(path);
    cleanups.push(() => client.close());
    return client;
  };
  const control = await connect(served.controlPath);
  return { served, control, end: clientEnd(control), vmm: () => connect(served.socketPath) };
}

function pattern(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 12)) & 0xff);
}

describe('a migration between two served devices', () => {
  it('moves registers and memory, and stops the source for good', async () => {
    const device = new MemoryDevice({ size: SIZE });
    device.load(pattern(SIZE));
    const source = await serve(device);
    const destination = await serve(new MemoryDevice({ size: SIZE }));
    const before = await source.vmm();
    await before.writeU32(0, MemoryRegister.SCRATCH, 0xfee1dead);

    const report = await migrate(source.end, destination.end);

    expect(report.bytes.total).toBeGreaterThan(SIZE);
    expect(report.bytes.total).toBe(report.bytes.preCopy + report.bytes.stopCopy);
    expect(await source.control.migrationState()).toBe(STOP);
    expect(await destination.control.migrationState()).toBe(RUNNING);
    const after = await destination.vmm();
    expect(await after.readU32(0, MemoryRegister.SCRATCH)).toBe(0xfee1dead);
    expect(Buffer.compare(await after.read(2, 0, SIZE), pattern(SIZE))).toBe(0);
  });

  it('refuses devices of different kinds and sizes before it stops anything', async () => {
    const source = await serve(new MemoryDevice({ size: SIZE }));
    const small = await serve(new MemoryDevice({ size: SIZE / 2 }));
    const edu = await serve(new Edu());
    await expect(migrate(source.end, small.end)).rejects.toThrow(/the size of region 2 is/);
    await expect(migrate(source.end, edu.end)).rejects.toThrow(/kind is memory at the source and edu/);
    expect(await source.control.migrationState()).toBe(RUNNING);
  });

  it('refuses an end that another controller drives', async () => {
    const source = await serve(new MemoryDevice({ size: SIZE }));
    const destination = await serve(new MemoryDevice({ size: SIZE }));
    const other = await DeviceClient.connect(destination.served.controlPath);
    cleanups.push(() => other.close());
    await other.setMigrationState(MigrationState.RESUMING);
    const error = await migrate(source.end, destination.end).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'ERR_MIGRATION_REFUSED', owner: 'source' });
    expect(await other.migrationState()).toBe(MigrationState.RESUMING);
  });

  it('tells of a reset by the VMM during PRE_COPY, and leaves the source running', async () => {
    const source = await serve(new MemoryDevice({ size: SIZE }));
    const destination = await serve(new MemoryDevice({ size: SIZE }));
    const vmm = await source.vmm();
    const hooks = { beforeStop: async () => void (await vmm.reset()) };
    const error = await migrate(source.end, destination.end, { hooks }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(MigrationError);
    expect(error).toMatchObject({ code: 'ERR_SESSION_ABORTED', owner: 'source', sourceState: RUNNING });
    expect(await destination.control.migrationState()).toBe(RUNNING);
  });

  it('throws away what a foreign server was given before it resets it: what was loaded never runs', async () => {
    const served = serveForTest(new MemoryDevice({ size: SIZE }));
    cleanups.push(() => served.close());
    const client = await DeviceClient.connect(served.socketPath, { capabilities: { ferry: {} } });
    cleanups.push(() => client.close());
    const asked: (number | 'reset')[] = [];
    client.migrationState = async () => STOP;
    client.setMigrationState = async (state) => void asked.push(state);
    client.reset = async () => {
      asked.push('reset');
      return { rung: 'reset', state: RUNNING };
    };
    await clientEnd(client).reset();
    expect(asked).toEqual([MigrationState.RESUMING, 'reset', RUNNING]);
  });

  it('leaves no hold at a destination that it has reset', async () => {
    const source = await serve(new MemoryDevice({ size: SIZE }));
    const destination = await serve(new MemoryDevice({ size: SIZE }));
    const hooks = {
      beforeRun: () => {
        throw new Error('no');
      },
    };
    await expect(migrate(source.end, destination.end, { hooks })).rejects.toMatchObject({ owner: 'source' });
    const [one, two] = [await source.vmm(), await destination.vmm()];
    expect(await one.readU32(0, MemoryRegister.ID)).toBe(await two.readU32(0, MemoryRegister.ID));
  });
});
