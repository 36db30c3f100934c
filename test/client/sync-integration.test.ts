import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { GuestMemory, SyncDeviceClient } from '../../src/client/index.ts';
import { IrqIndex, RegionIndex } from '../../src/protocol/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { until } from '../helpers/until.ts';
import { Cleanup, native } from './fake-server.ts';

const { RUNNING, STOP_COPY, RESUMING } = MigrationState;
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

function guest(): GuestMemory {
  const memory = new GuestMemory(native);
  cleanup.add(() => memory.close());
  return memory;
}

/** Registers of the device `memory` in BAR0, and what COMMAND and STATUS mean. */
const Reg = {
  ID: 0x00,
  ADDRESS: 0x10,
  LENGTH: 0x18,
  COMMAND: 0x1c,
  STATUS: 0x20,
  RESULT: 0x24,
  DOORBELL: 0x3c,
  SCRATCH: 0x80,
};
const CHECKSUM = 1;
const DONE = 2;
const BUSY = 1;
const SIZE = 1 << 20;

describe('SyncDeviceClient with a device in another process', () => {
  const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
  let folder = '';
  let child: ChildProcess;
  let path = '';

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ferry-sync-'));
    path = join(folder, 'sock');
    child = spawn(process.execPath, [cli, 'serve', 'memory', '--socket-path', path, '--size', `${SIZE}`], {
      stdio: 'ignore',
    });
    await until(() => existsSync(`${path}.control`), 'ferry serve');
  });
  afterAll(async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill();
    await ended;
    rmSync(folder, { recursive: true });
  });

  function connectSync(socketPath = path, memory?: GuestMemory): SyncDeviceClient {
    const client = SyncDeviceClient.connect(socketPath, {
      native,
      ...(memory === undefined ? {} : { memory }),
    });
    cleanup.add(() => client.close());
    return client;
  }

  /** Lets the device send MSI-X. */
  function enableMsix(client: SyncDeviceClient): void {
    const { config } = client.describe();
    const msix = config?.capabilities.find(({ name }) => name === 'MSI-X');
    client.writeU16(CONFIG, COMMAND, MEMORY_AND_MASTER);
    client.writeU16(CONFIG, (msix?.offset ?? 0) + MSIX_CONTROL, MSIX_ENABLE);
  }

  it('reads and writes registers', () => {
    const client = connectSync();
    expect(client.readU32(0, Reg.ID)).toBe(0x4d45_4d46);
    for (let i = 0; i < 1000; i += 1) {
      client.writeU32(0, Reg.SCRATCH, i, { posted: i % 2 === 0 });
      expect(client.readU32(0, Reg.SCRATCH)).toBe(i);
    }
  });

  it('maps memory that the device shares', () => {
    const client = connectSync();
    const region = client.mapRegion(RAM);
    expect(region.areas[0]?.bytes).toHaveLength(SIZE);
    region.areas[0]?.bytes.set(Buffer.from('mapped'), 1000);
    expect(Buffer.from(client.read(RAM, 1000, 6)).toString()).toBe('mapped');
    client.write(RAM, SIZE - 4, Buffer.from('end!'));
    expect(Buffer.from(region.areas[0]?.bytes.subarray(-4) ?? []).toString()).toBe('end!');
  });

  it.each(['mmap', 'message'] as const)(
    'gives it guest memory by %s and waits for its interrupt',
    (access) => {
      const memory = guest();
      const region = memory.add({ iova: 0x100000n, size: 0x80000, access });
      region.bytes.set(Uint8Array.from({ length: 0x80000 }, (_, i) => (i * 29) & 0xff));
      const client = connectSync(path, memory);
      enableMsix(client);
      client.enableInterrupts(IrqIndex.MSIX, 4);
      client.writeU32(0, Reg.ADDRESS, 0x100000);
      client.writeU32(0, Reg.LENGTH, 0x80000);
      client.writeU32(0, Reg.STATUS, DONE);
      client.writeU32(0, Reg.COMMAND, CHECKSUM);
      expect(client.waitInterrupt(IrqIndex.MSIX, 0, 60_000)).toBeGreaterThan(0);
      expect(client.readU32(0, Reg.RESULT)).toBe(crc32(region.bytes));
    },
  );

  it('reads registers while the device fetches its memory by message: neither waits for the other', () => {
    const memory = guest();
    const region = memory.add({ iova: 0x100000n, size: 0x80000, access: 'message' });
    const client = connectSync(path, memory);
    enableMsix(client);
    client.writeU32(0, Reg.ADDRESS, 0x100000);
    client.writeU32(0, Reg.LENGTH, 0x80000);
    client.writeU32(0, Reg.STATUS, DONE);
    client.writeU32(0, Reg.COMMAND, CHECKSUM);
    let reads = 0;
    for (let status = BUSY; (status & BUSY) !== 0; reads += 1) {
      status = client.readU32(0, Reg.STATUS);
      expect(reads).toBeLessThan(100_000);
    }
    expect(client.readU32(0, Reg.RESULT)).toBe(crc32(region.bytes));
  });

  it('gets many interrupts, each counted once', () => {
    const client = connectSync();
    enableMsix(client);
    client.enableInterrupts(IrqIndex.MSIX, 4);
    for (let i = 0; i < 100; i += 1) client.writeU32(0, Reg.DOORBELL, 2, { posted: true });
    let count = 0;
    while (count < 100) {
      const times = client.waitInterrupt(IrqIndex.MSIX, 2, 60_000);
      expect(times).toBeGreaterThan(0);
      count += times;
    }
    expect(count).toBe(100);
    expect(client.waitInterrupt(IrqIndex.MSIX, 2, 10)).toBe(0);
  });

  it('saves and restores it', () => {
    const vmm = connectSync();
    vmm.writeU32(0, Reg.SCRATCH, 0xfeed);
    vmm.close();
    const control = connectSync(`${path}.control`);
    control.setMigrationState(STOP_COPY);
    const state: Buffer[] = [];
    const buffer = Buffer.alloc(1 << 20);
    for (let count = -1; count !== 0; ) {
      count = control.readMigrationDataInto(buffer);
      state.push(Buffer.from(buffer.subarray(0, count)));
    }
    control.setMigrationState(RUNNING);
    const changed = connectSync();
    changed.writeU32(0, Reg.SCRATCH, 0xdead);
    changed.close();
    control.setMigrationState(RESUMING);
    for (const chunk of state) control.writeMigrationData(chunk);
    control.setMigrationState(RUNNING);
    expect(connectSync().readU32(0, Reg.SCRATCH)).toBe(0xfeed);
  });
});
