import { afterEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../src/client/index.ts';
import { MemoryDevice } from '../../src/devices/index.ts';
import { clientEnd, type MigrationEvent, migrate, PHASES, type Phase } from '../../src/engine/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { serveForTest } from '../helpers/served.ts';

const SIZE = 256 * 1024;
const content = Uint8Array.from({ length: SIZE }, (_, i) => (i * 31 + (i >> 9)) & 0xff);
const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

/** A served device, a controller of it, and a VMM that is connected. */
async function served() {
  const device = new MemoryDevice({ size: SIZE });
  const server = serveForTest(device);
  cleanups.push(() => server.close());
  const client = await DeviceClient.connect(server.controlPath);
  const vmm = await DeviceClient.connect(server.socketPath);
  cleanups.push(() => client.close());
  cleanups.push(() => vmm.close());
  return { device, server, client, vmm };
}

async function memoryOf(path: string): Promise<Uint8Array> {
  const vmm = await DeviceClient.connect(path);
  cleanups.push(() => vmm.close());
  return vmm.read(2, 0, SIZE);
}

const HAPPENING: readonly Phase[] = PHASES.filter((phase) => phase !== 'roll-back');
const rows = (['source', 'destination'] as const).flatMap((end) =>
  HAPPENING.map((phase) => ({ end, phase })),
);

describe('a VMM that dies during a migration of its device', () => {
  it.each(rows)(
    'of the $end, in phase $phase: the device moves all the same, whole',
    async ({ end, phase }) => {
      const [from, to] = [await served(), await served()];
      from.device.load(content);
      const die = (event: MigrationEvent): void => {
        if (event.type === 'phase' && event.phase === phase) (end === 'source' ? from : to).vmm.close();
      };
      const report = await migrate(clientEnd(from.client), clientEnd(to.client), { onEvent: die });
      expect(report.owner).toBe('destination');
      expect(await to.client.migrationState()).toBe(MigrationState.RUNNING);
      expect(await from.client.claimStatus()).toMatchObject({ retired: true });
      to.vmm.close();
      expect(Buffer.compare(await memoryOf(to.server.socketPath), content)).toBe(0);
    },
  );
});
