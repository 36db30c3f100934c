import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BEHAVIOURS, checkClient } from '../../../src/check/clients/index.ts';
import type { Report } from '../../../src/check/index.ts';
import { DeviceClient, GuestMemory } from '../../../src/client/index.ts';
import { FerryError } from '../../../src/errors/index.ts';
import { loadNative } from '../../../src/native/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import { openFds } from '../../helpers/open-fds.ts';

const { PRE_COPY, STOP_COPY, STOP, RESUMING, RUNNING } = MigrationState;
const QUICK = { timeoutMs: 300 };

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-clients-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Does with a device whatever a VMM and a controller do. */
async function useDevice(path: string): Promise<void> {
  const memory = new GuestMemory(loadNative());
  const region = memory.add({ iova: 0x10_0000n, size: 65_536 });
  let client: DeviceClient | null = null;
  try {
    client = await DeviceClient.connect(path, QUICK);
    // As a controller does that finds a device in a state that it did not leave it in.
    if ((await client.migrationState()) !== RUNNING) await client.reset();
    await client.mapMemory(region);
    await client.describe();
    await client.enableInterrupts(0, 1, () => {});
    await client.enableInterrupts(2, 2, () => {});
    await client.disableInterrupts(2);
    await client.read(0, 0, 8000);
    await client.writeU32(0, 4, 0x1234);
    await client.writeU32(0, 8, 1, { posted: true });
    await move(client);
    await client.unmapMemory(region);
    await client.reset();
  } finally {
    client?.close();
    memory.close();
  }
}

async function move(client: DeviceClient): Promise<void> {
  await client.startDmaLogging(4096n, []);
  await client.dmaLog(0x10_0000n, 65_536n, 4096n);
  await client.stopDmaLogging();
  await client.setMigrationState(PRE_COPY);
  await client.readMigrationData(4096, () => {});
  await client.setMigrationState(STOP_COPY);
  while ((await client.readMigrationData(4096, () => {})) > 0);
  await client.setMigrationState(STOP);
  await client.setMigrationState(RESUMING);
  await client.writeMigrationData(new Uint8Array(10_000));
  await client.setMigrationState(STOP);
  await client.setMigrationState(RUNNING);
}

/** What a server does to it is told by an error of Ferry, and by nothing else. */
async function orderly(run: Promise<void>): Promise<void> {
  try {
    await run;
  } catch (error) {
    if (!(error instanceof FerryError)) throw error;
  }
}

async function check(names: readonly string[], run: (path: string) => Promise<void>): Promise<Report> {
  const clients: Promise<void>[] = [];
  const report = await checkClient({
    socketPath: join(folder, 'a.sock'),
    spawn: null,
    ...{ startMs: 2000, limitMs: 1500, quietMs: 20 },
    behaviours: BEHAVIOURS.filter(({ name }) => names.includes(name)),
    onPlay: (_, path) => clients.push(orderly(run(path))),
  });
  await Promise.all(clients);
  return report;
}

const broken = ({ results }: Report) => results.filter(({ outcome }) => outcome === 'broken');

describe("Ferry's own client", () => {
  it('keeps every rule, whatever the server does', { timeout: 60_000 }, async () => {
    const before = openFds();
    const report = await check(
      BEHAVIOURS.map(({ name }) => name),
      useDevice,
    );
    expect(broken(report)).toEqual([]);
    const missed = report.results.filter(({ outcome }) => outcome !== 'passed').map(({ rule }) => rule.id);
    expect(missed).toEqual(['reaction.no-crash']);
    expect(openFds()).toEqual(before);
  });
});
