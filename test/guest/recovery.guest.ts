import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../src/client/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { lastJson, Shell } from '../cli/ferry.ts';
import { Service } from '../cli/serve/service.ts';
import type { Guest } from './harness/guest.ts';
import { describeInGuests } from './harness/lab.ts';
import { Load } from './harness/load.ts';
import { MEMORY, machinesOf } from './matrix.ts';

const CONTROLLER = join(import.meta.dirname, 'harness/controller.js');
/** What is lost once must not be forgiven. */
const ONCE = { retry: 0 };
const WORKERS = 4;
const BYTES = 4 * 2 ** 20;
/** In milliseconds: Linux gives up on a request after 30 s; nobody who was told of its end waits for so long. */
const LONGEST = 15_000;

/** How far a controller gets before it is killed, and what the next one finds. */
const DEATHS = [
  { after: 'saved', state: 'STOP_COPY' },
  { after: 'reset', state: 'RUNNING' },
  { after: 'resuming', state: 'RESUMING' },
] as const;
type Step = (typeof DEATHS)[number]['after'];

/** How often the service is restarted while the guest reads and writes. */
const RESTARTS = 3;
/** The start of a process takes longer than QEMU waits by default on a machine that has other things to do. */
const PATIENCE_MS = 60_000;

describeInGuests('an nvme whose controller or whose server ends', (lab) => {
  describe.each(machinesOf(lab.kernel.flavour))('on %s', (machine) => {
    let shell: Shell;
    let socket: string;
    let service: Service;
    let guest: Guest;
    beforeAll(async () => {
      shell = new Shell();
      socket = shell.path('a.sock');
      service = await Service.start(shell, { device: ['nvme', '--ram', '64M'] });
      const devices = [{ id: 'nvme', socketPath: socket, slot: 0x10, patienceMs: PATIENCE_MS }];
      guest = await lab.boot({ machine, memory: MEMORY[machine], devices });
      await guest.load('nvme');
      await guest.until('test -b /dev/nvme0n1');
    });
    afterAll(async () => {
      await guest?.close();
      await service?.end();
      await shell.close();
    });

    const startLoad = async (): Promise<Load> => {
      const load = await Load.start(guest, `disk /dev/nvme0n1 $end ${WORKERS} ${BYTES}`);
      await guest.run('usleep 500000');
      return load;
    };

    it.each(DEATHS)(
      'is held when its controller is killed after step $after, and the next one goes on',
      ONCE,
      async (death) => {
        const load = await startLoad();
        await killAfter(death.after, shell, socket);
        const client = await DeviceClient.connect(`${socket}.control`);
        try {
          expect(await client.inspectServer()).toMatchObject({ hold: { active: true, expired: false } });
          expect(await client.migrationState()).toBe(MigrationState[death.state]);
          await goOn(client, death.after, shell);
        } finally {
          client.close();
        }
        await expectUnnoticed(load);
      },
    );

    it(
      'is told of by ferry inspect when its controller is killed, and ferry state lets the guest go on with what was not lost',
      ONCE,
      async () => {
        const load = await startLoad();
        const qmp = await guest.qmp();
        await qmp.execute('stop');
        await killAfter('saved', shell, socket);
        const { server } = lastJson((await shell.run('inspect', socket, '--json')).stdout);
        expect(server).toMatchObject({ migration: { sessionOwner: null }, hold: { active: true } });
        expect((await shell.run('inspect', socket)).stdout).toMatch(/^\s*hold: for /m);
        expect(await shell.run('state', socket, '--set', 'RUNNING')).toMatchObject({ status: 0 });
        await qmp.execute('cont');
        await expectUnnoticed(load);
      },
    );

    it('never runs with only a part of its state', ONCE, async () => {
      const load = await startLoad();
      const qmp = await guest.qmp();
      await qmp.execute('stop');
      await killAfter('resuming', shell, socket);
      expect((await shell.run('state', socket, '--set', 'RUNNING')).status).not.toBe(0);
      expect((await shell.run('inspect', socket)).stdout).toMatch(/^\s*hold: for /m);
      const client = await DeviceClient.connect(`${socket}.control`);
      await goOn(client, 'resuming', shell).finally(() => client.close());
      await qmp.execute('cont');
      await expectUnnoticed(load);
    });

    it('outlives its service, which is restarted again and again', ONCE, async () => {
      const load = await startLoad();
      for (let round = 1; round <= RESTARTS; round += 1) {
        service.tell('restart');
        await service.ready();
        await service.says(/^ended 0$/gm, round);
        await guest.run('usleep 300000');
      }
      await expectUnnoticed(load);
    });

    it('leaves the kernel and QEMU with nothing to complain of', ONCE, async () => {
      expect(await guest.kernelComplaints()).toEqual([]);
      expect(guest.complaints).toBe('');
    });

    it(
      'is gone for its guest when its service is killed, whose next process has a fresh one',
      ONCE,
      async () => {
        const identity =
          'dd if=/sys/bus/pci/devices/0000:00:10.0/config bs=4 count=1 2>/dev/null | hexdump -v -e \'/4 "%08x"\'';
        const before = await guest.run(identity);
        service.tell('kill');
        await service.says(/^ended -9$/gm);
        await service.ready();
        expect([before, await guest.run(identity)]).toEqual(['4e561234', 'ffffffff']);
        expect(guest.complaints).toMatch(/vfio-user:\S+\/a\.sock.*failed/);
        // Nobody is attached to it, and no driver has enabled it (NVM Express 1.4, section 3.1.5).
        const client = await DeviceClient.connect(socket);
        expect(await client.readU32(0, 0x14).finally(() => client.close())).toBe(0);
      },
    );

    async function expectUnnoticed(load: Load): Promise<void> {
      await load.end();
      const [reads, , , longest] = (await load.output()).split(' ').map(Number);
      expect(reads).toBeGreaterThan(0);
      expect(longest).toBeLessThan(LONGEST);
    }
  });
});

/** Lets a controller get as far as `step`, and kills it there. */
async function killAfter(step: Step, shell: Shell, socket: string): Promise<void> {
  const args = [CONTROLLER, `${socket}.control`, shell.path('state'), step];
  const controller = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(controller, 'close');
  const said = await Promise.race([once(createInterface(controller.stdout), 'line'), ended]);
  controller.kill('SIGKILL');
  await ended;
  expect(said).toEqual([step]);
}

/** Does what the dead controller has not done; it has left the state in a file. */
async function goOn(client: DeviceClient, after: Step, shell: Shell): Promise<void> {
  if (after === 'resuming') await client.reset();
  if (after !== 'saved') {
    await client.setMigrationState(MigrationState.RESUMING);
    await client.writeMigrationData(readFileSync(shell.path('state')));
  }
  await client.setMigrationState(MigrationState.RUNNING);
}
