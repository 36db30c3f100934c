import { describe, expect, it } from 'vitest';
import { type BindableDevice, bytes, memory, PciDevice, u32 } from '../../src/device/index.ts';
import type { FerryError } from '../../src/errors/index.ts';
import { practise } from '../../src/handover/practice.ts';
import { loadNative } from '../../src/native/index.ts';
import { DeviceServer } from '../../src/server/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { EventLoopReactor } from '../../src/transport/index.ts';

const native = loadNative();
const PAGE = 4096;

/** A device that notes what is done with it. */
class Noting extends PciDevice {
  override readonly identity = { kind: 'noting', vendor: 0x1af4, device: 0x10fe, classCode: 0xff0000 };
  readonly state = this.migratable({ value: u32({ initial: 7 }), name: bytes(8), memory: memory(PAGE) });
  override readonly bars = {};
  override readonly interrupts = { msix: 2 };
  readonly restored: { readonly value: number; readonly handingOver: boolean }[] = [];
  given = 0;

  get passing(): boolean {
    return this.handingOver;
  }

  protected override onRestored(): void {
    this.restored.push({ value: this.state.value, handingOver: this.handingOver });
  }

  protected override onHandOver(): never {
    this.given += 1;
    throw new Error('nothing to give');
  }
}

/** One that does not take its own state. */
class Refusing extends Noting {
  protected override createMigration(
    ...[services]: Parameters<PciDevice['createMigration']>
  ): ReturnType<PciDevice['createMigration']> {
    const migration = super.createMigration(services);
    migration.write = () => {
      throw new Error('not this one');
    };
    return migration;
  }
}

/** One that migrates by itself. */
class Own extends Noting {
  protected override createMigration(): ReturnType<PciDevice['createMigration']> {
    const fail = (): never => expect.fail('it was asked for');
    const ask = { arc: fail, read: fail, write: fail, precopyInfo: fail, dataSize: fail };
    return { flags: 1, reset: () => {}, ...ask };
  }
}

async function practised<D extends BindableDevice>(device: D) {
  const reported: FerryError[] = [];
  const report = (error: FerryError): void => void reported.push(error);
  const server = new DeviceServer(device, { native, reactor: new EventLoopReactor(native), report });
  await practise(server);
  return { server, reported };
}

describe('a device that is about to be taken over', () => {
  it('saves and loads its own state some times, and runs as before', async () => {
    const device = new Noting();
    device.state.memory.fill(0x5a);
    const { server, reported } = await practised(device);
    expect(device.restored.length).toBeGreaterThan(1);
    expect(new Set(device.restored.map((once) => JSON.stringify(once)))).toEqual(
      new Set([JSON.stringify({ value: 7, handingOver: true })]),
    );
    expect(device.passing).toBe(false);
    expect(server.device.inspect()).toMatchObject({ running: true, mayInitiateDma: true });
    expect(server.migration.state).toBe(MigrationState.RUNNING);
    expect(reported).toEqual([]);
    server.close();
  });

  it('leaves its memory alone, and what its author gives away', async () => {
    const device = new Noting();
    device.state.memory.fill(0x5a);
    const { server } = await practised(device);
    expect(device.state.memory.bytes.every((byte) => byte === 0x5a)).toBe(true);
    expect(device.given).toBe(0);
    server.close();
  });

  it('is as it was made when that fails', async () => {
    const device = new Refusing();
    const { server, reported } = await practised(device);
    expect(device.state.value).toBe(7);
    expect(device.passing).toBe(false);
    expect(server.device.inspect()).toMatchObject({ running: true, mayInitiateDma: true });
    expect(reported).toEqual([]);
    server.close();
  });

  it('is left alone when its migration is its own', async () => {
    const { server } = await practised(new Own());
    expect(server.device.inspect()).toMatchObject({ running: true });
    server.close();
  });
});

describe('a device that is about to be given away', () => {
  it('is as it was before after its state has been saved for practice', () => {
    const device = new Noting();
    const server = new DeviceServer(device, { native, reactor: new EventLoopReactor(native) });
    device.state.value = 9;
    device.state.memory.fill(0x5a);
    server.device.handover?.practise();
    expect(device.state.value).toBe(9);
    expect(device.state.memory.bytes.every((byte) => byte === 0x5a)).toBe(true);
    expect(device.state.memory.dirtyBytes).toBe(0);
    expect([device.restored, device.given, device.passing]).toEqual([[], 0, false]);
    expect(server.device.inspect()).toMatchObject({ running: true, mayInitiateDma: true });
    server.close();
  });
});
