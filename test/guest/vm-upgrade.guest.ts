import { existsSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { DeviceClient } from '../../src/client/index.ts';
import { lastJson, type Running, Shell } from '../cli/ferry.ts';
import { executeAnew } from './cpr-exec.ts';
import type { Guest, GuestOptions } from './harness/guest.ts';
import { describeInGuests } from './harness/lab.ts';
import type { Load } from './harness/load.ts';
import { startAndStop } from './stop-at-step.ts';
import { DEVICES, startLoads, verify } from './upgrade-loads.ts';

const LONG = process.env['FERRY_VM'] === 'long';
/** How often QEMU is replaced, with all loads on it. */
const UPGRADES = LONG ? 10 : 1;
const EXECUTIONS = LONG ? 5 : 1;
/** How long a busy machine takes is not the question. */
const PATIENT = ['--timeout', '30000'];
/** What is lost once must not be forgiven. */
const ONCE = { retry: 0, timeout: LONG ? 600_000 : 120_000 };
/** How long something is waited for that always comes. */
const WAIT = { timeout: 60_000 };

/** Where the command is killed, and who has the VM when it has been recovered. In the short form at each turn of its way. */
const KILLED: readonly (readonly [point: string, owner: 'source' | 'destination', short: boolean])[] = [
  ['after BEGIN', 'source', false],
  ['after migrate-set-parameters', 'source', false],
  ['after stop', 'source', false],
  ['after STOP', 'source', true],
  ['after migrate', 'destination', false],
  ['before write', 'destination', true],
  ['after write', 'destination', false],
  ['before COMMIT', 'destination', false],
  ['after COMMIT', 'destination', false],
  ['after quit', 'destination', true],
  ['after RUNNING', 'destination', false],
  ['after cont', 'destination', false],
  ['before DONE', 'destination', false],
];
const POINTS = KILLED.filter(([, , short]) => LONG || short);

/** What a kernel says of a clock that has stood still. */
const CLOCK = /clocksource|local clock|trace_clock|on the kernel command line|sched_clock/;

describeInGuests('a VM whose QEMU is replaced', (lab) => {
  describe.runIf(lab.kernel.flavour === 'full')('by cpr-transfer', () => {
    let shell: Shell;
    let guest: Guest;
    let loads: readonly Load[] = [];
    /** One of them that needs interrupts to get on; the others verify data until they are told to end. */
    let edu: Load | undefined;
    const servers = new Map<string, Running>();
    let generation = 0;
    const blackouts: number[] = [];

    beforeAll(async () => {
      shell = new Shell();
      for (const { id, serve } of DEVICES) {
        const [kind, ...more] = serve;
        servers.set(id, await shell.serve(kind, id, ...more));
      }
      await bootAnew();
    });
    afterAll(async () => {
      await guest?.close();
      await shell?.close();
    });

    async function bootAnew(): Promise<void> {
      guest = await lab.boot(options());
      loads = await startLoads(guest);
      edu = loads.at(-1);
    }

    /** Where the next QEMU waits. */
    const channels = () => ({ main: lab.path(`main-${generation}`), channel: lab.path(`cpr-${generation}`) });
    const gdbPath = () => lab.path(`gdb-${generation}`);
    function options(): GuestOptions {
      const devices = DEVICES.map(({ id, slot }) => ({ id, slot, socketPath: shell.path(id) }));
      return { machine: 'q35', memory: 'shared', cpus: 2, devices, cpr: channels() };
    }

    /** A new QEMU that waits for its memory. */
    async function successor(changes: Partial<GuestOptions> = {}): Promise<Guest> {
      generation += 1;
      return inPlaceOf({ ...options(), ...changes, incoming: { gdbPath: gdbPath() } });
    }

    /** Another one, where one has waited that was killed. */
    async function inPlaceOf(before: GuestOptions): Promise<Guest> {
      const { channel = '', main = '' } = before.cpr ?? {};
      for (const path of [channel, main]) rmSync(path, { force: true });
      const fresh = lab.start(before);
      await vi.waitUntil(() => existsSync(channel), WAIT);
      return fresh;
    }

    /** What `ferry vm upgrade` takes to pass the guest to another QEMU. */
    function toward(fresh: Guest, { gdb = gdbPath(), main = channels().main } = {}): readonly string[] {
      const own = ['--qmp', guest.qmpPath, '--to-qmp', fresh.qmpPath, '--to-gdb', gdb];
      const sockets = DEVICES.map(({ id }) => shell.path(id));
      const over = ['--main', main, '--cpr', channels().channel, ...PATIENT];
      return ['vm', 'upgrade', '--json', ...own, ...over, ...sockets];
    }

    function upgrade(fresh: Guest, ...more: readonly string[]) {
      return shell.run(...toward(fresh), ...more);
    }

    function stoppedAt(point: string, args: readonly string[]): Promise<Running> {
      return startAndStop(shell, args, point, lab.path('stopped'));
    }

    async function expectUpgraded(fresh: Guest): Promise<void> {
      const { status, stdout, stderr } = await upgrade(fresh);
      expect(status, `${stdout}\n${stderr}\n${fresh.complaints}`).toBe(0);
      const { blackoutMs } = lastJson(stdout);
      blackouts.push(Number(blackoutMs));
      if (process.env['FERRY_VM_PHASES'] !== undefined) console.log(stdout);
      await expectIn(fresh);
    }

    /** The guest goes on there, nobody else has it, and everything is as it was before an upgrade. */
    async function expectIn(owner: Guest): Promise<void> {
      if (owner !== guest) {
        await vi.waitUntil(() => !guest.runs, WAIT);
        guest = owner;
        for (const load of loads) load.movedTo(guest);
      }
      await edu?.settle();
      for (const { id } of DEVICES)
        expect(await reconnection(id)).toMatchObject({ policy: 'reset', kept: null });
      const again = await shell.run('recover', '--json');
      expect(lastJson(again.stdout), again.stdout).toEqual({ group: null, sides: [] });
    }

    /** `ferry recover` says who has the VM, and how that came out. */
    async function recovered(status: number): Promise<unknown> {
      const outcome = await shell.run('recover', '--json', ...PATIENT);
      expect(outcome.status, outcome.stdout + outcome.stderr).toBe(status);
      const [side] = Object(lastJson(outcome.stdout))['sides'];
      return side.recovery;
    }

    async function reconnection(id: string) {
      const client = await DeviceClient.connect(`${shell.path(id)}.control`);
      try {
        return await client.reconnection(null);
      } finally {
        client.close();
      }
    }

    it('runs on when nobody waits for it, and when nobody comes', ONCE, async () => {
      const fresh = await successor();
      rmSync(channels().main, { force: true });
      const dry = await upgrade(fresh, '--dry-run');
      expect(dry.status, dry.stdout).toBe(0);
      await fresh.close();
      // Its socket is still there, and nobody listens at it.
      const { status, stdout } = await upgrade(fresh);
      expect(status, stdout).toBe(1);
      rmSync(channels().channel, { force: true });
      const refused = await upgrade(fresh);
      expect(lastJson(refused.stdout)['error']).toMatchObject({
        code: 'ERR_VM_REFUSED',
        message: expect.stringContaining('nobody waits at'),
      });
      await edu?.settle();
    });

    it(`goes on in the new one, ${UPGRADES} times`, ONCE, async () => {
      for (let i = 0; i < UPGRADES; i += 1) await expectUpgraded(await successor());
    });

    it.runIf(LONG)(
      'goes on in another one when the first has taken its devices, and can not load it',
      ONCE,
      async () => {
        const first = await successor({ cpus: 1 });
        const { status, stdout } = await upgrade(first);
        expect(status, stdout).toBe(3);
        expect(lastJson(stdout)['error']).toMatchObject({ code: 'ERR_VM_STRANDED' });
        await first.close();
        await expectUpgraded(await successor());
      },
    );

    it('goes on in the one that has loaded it when only the rest has failed', ONCE, async () => {
      const fresh = await successor();
      const failed = await shell.run(...toward(fresh, { gdb: lab.path('elsewhere') }));
      expect(failed.status, failed.stdout).toBe(3);
      await expectUpgraded(fresh);
    });

    it.each(POINTS)('is killed %s: ferry recover has it run at the %s', ONCE, async (point, owner) => {
      const fresh = await successor();
      const command = await stoppedAt(point, toward(fresh));
      expect(await recovered(0), 'the process is still there').toBe(null);
      await command.kill('SIGKILL');
      expect(await recovered(0)).toMatchObject({ owner, complete: true, lost: [] });
      if (owner === 'source') await fresh.close();
      await expectIn(owner === 'source' ? guest : fresh);
    });

    it.runIf(LONG)('is killed and said again, and goes on', ONCE, async () => {
      const fresh = await successor();
      const command = await stoppedAt('after STOP', toward(fresh));
      await command.kill('SIGKILL');
      await expectUpgraded(fresh);
    });

    it('runs on in the old one when the new one is killed before it has taken a device', ONCE, async () => {
      const fresh = await successor();
      const command = await stoppedAt('before migrate', toward(fresh));
      await fresh.close();
      command.process.kill('SIGCONT');
      const { status, stdout } = await command.ended;
      expect(status, stdout).toBe(1);
      await expectIn(guest);
    });

    it('goes on in another one when the new one is killed after it has taken the devices', ONCE, async () => {
      const first = await successor();
      // What QEMU sends of the rest comes nowhere, so that the new one waits for it.
      const main = lab.path('nowhere');
      const nowhere = createServer((socket) => socket.on('error', () => {}).resume()).listen(main);
      const command = shell.start(toward(first, { main }));
      const isTaken = async (): Promise<boolean> => (await reconnection('edu')).kept?.returned === true;
      await vi.waitUntil(isTaken, WAIT);
      await first.close();
      const { status, stdout } = await command.ended;
      expect(status, stdout).toBe(3);
      expect(lastJson(stdout)['error']).toMatchObject({ code: 'ERR_VM_STRANDED' });
      nowhere.close();
      expect(await recovered(3)).toMatchObject({ owner: 'source', complete: false });
      const second = await inPlaceOf({
        ...options(),
        ...{ cpr: { main, channel: channels().channel }, incoming: { gdbPath: gdbPath() } },
        qmpPath: first.qmpPath,
      });
      expect(await recovered(0)).toMatchObject({ owner: 'destination', complete: true });
      await expectIn(second);
    });

    it(`goes on when it executes itself anew, ${EXECUTIONS} times (cpr-exec)`, ONCE, async () => {
      const devices = DEVICES.map(({ id }) => ({ id, controlPath: `${shell.path(id)}.control` }));
      for (let i = 0; i < EXECUTIONS; i += 1) {
        await executeAnew(lab, guest, devices);
        await expectIn(guest);
      }
    });

    it('has found all data as it was written, and lost no interrupt', ONCE, async () => {
      for (const load of loads) expect(await load.end()).toBeGreaterThan(0);
      expect((await guest.kernelComplaints()).filter((line) => !CLOCK.test(line))).toEqual([]);
      const sorted = blackouts.toSorted((a, b) => a - b);
      console.log(`${sorted.length} upgrades: blackout ${sorted.map((ms) => ms.toFixed(0)).join(', ')} ms`);
    });

    it('runs on in the old one without a device whose server is killed, and that is said', ONCE, async () => {
      const fresh = await successor();
      const command = await stoppedAt('after STOP', toward(fresh));
      await killServer('edu');
      command.process.kill('SIGCONT');
      const { status, stdout } = await command.ended;
      expect(status, stdout).toBe(3);
      const { code, message } = Object(lastJson(stdout)['error']);
      expect(code).toBe('ERR_VM_LOST');
      expect(message).toContain('runs on in the old QEMU');
      expect(message).toContain(shell.path('edu'));
      await fresh.close();
      expect(lastJson((await shell.run('recover', '--json')).stdout)).toEqual({ group: null, sides: [] });
      for (const id of ['msix', 'line'])
        expect(await reconnection(id)).toMatchObject({ policy: 'reset', kept: null });
      const disk = await verify(guest, '0000:00:11.0');
      await guest.run('usleep 500000');
      expect(await disk.end()).toBeGreaterThan(0);
    });

    async function killServer(id: string): Promise<void> {
      await servers.get(id)?.kill('SIGKILL');
    }

    /** The guest is lost: that is said, once, and the servers take another one. */
    async function expectLost(owner: 'source' | 'destination'): Promise<void> {
      expect(await recovered(3)).toMatchObject({ owner, complete: true, lost: [`qmp:${guest.qmpPath}`] });
      expect(lastJson((await shell.run('recover', '--json')).stdout)).toEqual({ group: null, sides: [] });
      await guest.close();
    }

    describe.runIf(LONG)('when what a guest lives by is killed', () => {
      it('tells that a server has ended that the new one had taken', ONCE, async () => {
        await guest.close();
        await killServer('edu');
        servers.set('edu', await shell.serve('edu', 'edu'));
        await bootAnew();
        const fresh = await successor();
        const command = await stoppedAt('before write', toward(fresh));
        await killServer('edu');
        command.process.kill('SIGCONT');
        expect(await command.ended).toMatchObject({ status: 3 });
        await expectLost('source');
        await fresh.close();
        servers.set('edu', await shell.serve('edu', 'edu'));
      });

      it.each([
        ['before write', 'source'],
        ['after quit', 'destination'],
      ] as const)('tells that the new one has ended with everything, %s', ONCE, async (point, owner) => {
        await bootAnew();
        const fresh = await successor();
        const command = await stoppedAt(point, toward(fresh));
        await fresh.close();
        command.process.kill('SIGCONT');
        expect(await command.ended).toMatchObject({ status: 3 });
        await expectLost(owner);
      });

      it('tells that the old one has ended before it had handed over', ONCE, async () => {
        await bootAnew();
        const fresh = await successor();
        const command = await stoppedAt('after STOP', toward(fresh));
        await guest.close();
        command.process.kill('SIGCONT');
        expect(await command.ended).toMatchObject({ status: 3 });
        await expectLost('source');
        await fresh.close();
      });

      it('and the servers serve the next guest', ONCE, async () => {
        await bootAnew();
        await expectIn(guest);
        for (const load of loads) expect(await load.end()).toBeGreaterThan(0);
      });
    });
  });
});
