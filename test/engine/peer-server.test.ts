import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DeviceClient } from '../../src/client/index.ts';
import { clientEnd, type MigrateOptions, MigrationError, migrate } from '../../src/engine/index.ts';
import { MigrationState } from '../../src/states/index.ts';

/**
 * `command {socket}` of a server of libvfio-user: its sample `server`, whose BAR0 is a time at which to raise an interrupt
 * and whose BAR1 is memory. (In the sources of 2025 the size of BAR1 has to be a power of 2 first.)
 */
const PEER = process.env['FERRY_PEER_SERVER'];
const SLOW = 60_000;
const { RUNNING, STOP } = MigrationState;
/** A sixteenth of it is what a message of the client's takes. */
const SHOWN = 4096;
const MEMORY = Uint8Array.from({ length: SHOWN }, (_, i) => (i * 37 + (i >> 8)) & 0xff);
/** Of the sample's timer: far away. */
const ALARM = BigInt(Math.floor(Date.now() / 1000) + 100_000);

const folders: string[] = [];
const servers: ChildProcess[] = [];
const clients: DeviceClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const server of servers.splice(0)) {
    server.kill('SIGKILL');
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
  }
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** The socket is there a little before anybody listens on it. */
async function connectedTo(socket: string): Promise<DeviceClient> {
  return vi.waitFor(() => DeviceClient.connect(socket), { timeout: 60_000, interval: 20 });
}

/** A server in a process of its own, the only connection to it, and what it complains of. */
async function peer() {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-peer-'));
  folders.push(folder);
  const socket = join(folder, 'peer.sock');
  const command = (PEER ?? '').replaceAll('{socket}', socket);
  const server = spawn('sh', ['-c', `exec ${command}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  servers.push(server);
  let complaints = '';
  server.stderr.setEncoding('utf8').on('data', (piece: string) => {
    complaints += piece;
  });
  const client = await connectedTo(socket);
  clients.push(client);
  return {
    client,
    end: clientEnd(client, socket),
    refused: () => complaints.match(/bad command .*|cannot access .*/g),
  };
}

async function fill(client: DeviceClient): Promise<void> {
  await client.write(1, 0, MEMORY);
  const alarm = new Uint8Array(8);
  new DataView(alarm.buffer).setBigUint64(0, ALARM, true);
  await client.write(0, 0, alarm);
}

/** The sample sends BAR1 twice when there is PRE_COPY, and takes it once. */
const OPTIONS: MigrateOptions = { preCopy: false, limits: { allowUnknownSize: true } };

describe.skipIf(PEER === undefined)('a device of another server (needs FERRY_PEER_SERVER)', () => {
  it(
    'moves from one such server to another, whole',
    async ({ skip }) => {
      const [from, to] = [await peer(), await peer()];
      if ((await from.client.regionInfo(1)).size < BigInt(SHOWN)) skip('it has no memory in BAR1');
      await fill(from.client);
      const report = await migrate(from.end, to.end, OPTIONS);
      expect(report.owner).toBe('destination');
      expect([await from.client.migrationState(), await to.client.migrationState()]).toEqual([STOP, RUNNING]);
      expect(Buffer.compare(await to.client.read(1, 0, SHOWN), MEMORY)).toBe(0);
      expect([from.refused(), to.refused()]).toEqual([null, null]);
    },
    SLOW,
  );

  it(
    'goes on at its source when the destination fails: nothing is asked that is refused in STOP_COPY',
    async ({ skip }) => {
      const [from, to] = [await peer(), await peer()];
      if ((await from.client.regionInfo(1)).size < BigInt(SHOWN)) skip('it has no memory in BAR1');
      await fill(from.client);
      const fail = (): void => {
        throw new Error('no room');
      };
      const error = await migrate(from.end, to.end, { ...OPTIONS, hooks: { beforeRun: fail } }).catch(
        (reason: unknown) => reason,
      );
      if (!(error instanceof MigrationError)) throw error;
      expect(error).toMatchObject({ owner: 'source', phase: 'verify', sourceState: RUNNING });
      expect(Buffer.compare(await from.client.read(1, 0, SHOWN), MEMORY)).toBe(0);
      expect([from.refused(), to.refused()]).toEqual([null, null]);
    },
    SLOW,
  );
});
