import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../src/client/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState } from '../../src/states/index.ts';

const program = fileURLToPath(new URL('./dedicated-program.js', import.meta.url));
const built = existsSync(new URL('../../dist/server/dedicated-thread.js', import.meta.url));
const TICKS = 0x00;
const SCRATCH = 0x04;
const { RUNNING, STOP_COPY, STOP, RESUMING } = MigrationState;

/** The program, which serves a device on a thread; it prints one line of JSON for each event. */
class Program {
  readonly process: ChildProcess;
  readonly #lines: string[] = [];
  #rest = '';
  readonly #exited: Promise<number | null>;
  #arrival: () => void = () => {};

  constructor(options: object) {
    this.process = spawn(process.execPath, [program, JSON.stringify(options)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.process.stdout?.on('data', (chunk: Buffer) => {
      const lines = (this.#rest + chunk.toString()).split('\n');
      this.#rest = lines.pop() ?? '';
      this.#lines.push(...lines);
      this.#arrival();
    });
    this.#exited = new Promise((resolve) => this.process.once('exit', resolve));
    void this.#exited.then(() => this.#arrival());
  }

  /** The next event. */
  async event(): Promise<unknown> {
    for (;;) {
      const line = this.#lines.shift();
      if (line !== undefined) return JSON.parse(line);
      if (this.process.exitCode !== null) throw new Error('the program has ended');
      await new Promise<void>((resolve) => {
        this.#arrival = resolve;
      });
    }
  }

  tell(action: string): void {
    this.process.stdin?.write(`${action}\n`);
  }

  /** The exit status. */
  ends(): Promise<number | null> {
    return this.#exited;
  }
}

describe.skipIf(!built)(
  `serving on a thread of its own${built ? '' : ' (dist/ is missing: npm run build)'}`,
  () => {
    let folder: string;
    let socketPath: string;
    const programs: Program[] = [];
    const clients: DeviceClient[] = [];

    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'ferry-dedicated-'));
      socketPath = join(folder, 'device.sock');
    });
    afterEach(async () => {
      for (const client of clients.splice(0)) client.close();
      for (const { process: child } of programs) child.kill('SIGKILL');
      for (const each of programs.splice(0)) await each.ends();
      rmSync(folder, { recursive: true });
    });

    function start(options: object = {}): Program {
      const started = new Program({ socketPath, ...options });
      programs.push(started);
      return started;
    }

    async function listening(): Promise<Program> {
      const started = start();
      expect(await started.event()).toEqual({ listening: [socketPath, `${socketPath}.control`] });
      return started;
    }

    async function connect(path = socketPath): Promise<DeviceClient> {
      const client = await DeviceClient.connect(path);
      clients.push(client);
      return client;
    }

    it('answers, one client after the other', async () => {
      await listening();
      for (let round = 1; round <= 3; round += 1) {
        const client = await connect();
        await client.writeU32(0, SCRATCH, round);
        expect(await client.readU32(0, SCRATCH)).toBe(round);
        const reads = Array.from({ length: 500 }, () => client.readU32(0, SCRATCH));
        expect(new Set(await Promise.all(reads))).toEqual(new Set([round]));
        client.close();
      }
    });

    it('hears a doorbell, while messages flow and while none do', async () => {
      await listening();
      const client = await connect();
      const { doorbells } = await client.openDoorbells(0);
      const scratch = () => client.readU32(0, SCRATCH);
      for (const [value, pauseMs] of [
        [42n, 0],
        [43n, 20],
      ] as const) {
        doorbells[0]?.ring(value);
        await delay(pauseMs);
        while ((await scratch()) !== Number(value));
      }
      const reads = Array.from({ length: 500 }, scratch);
      doorbells[0]?.ring(44n);
      await Promise.all(reads);
      while ((await scratch()) !== 44);
    });

    it('moves more bytes than a socket holds', async () => {
      await listening();
      const client = await connect();
      const bytes = Uint8Array.from({ length: 64 * 1024 }, (_, i) => i * 7);
      const rounds = Array.from({ length: 20 }, async () => {
        await client.write(2, 0, bytes);
        return client.read(2, 0, bytes.length);
      });
      for (const read of await Promise.all(rounds)) expect(Buffer.compare(read, bytes)).toBe(0);
    });

    it('knows claims: a retired device waits for its VMM, and runs again only once it is released', async () => {
      await listening();
      const token = new Uint8Array(16).fill(3);
      const control = await connect(`${socketPath}.control`);
      const stranger = await connect(`${socketPath}.control`);
      const vmm = await connect();
      await control.claim(token, 1n);
      await expect(stranger.setMigrationState(STOP)).rejects.toMatchObject({ errno: Errno.EBUSY });
      await control.setMigrationState(STOP_COPY);
      await control.retire(token, 1n);
      await expect(control.setMigrationState(RUNNING)).rejects.toMatchObject({ code: 'ERR_RETIRED' });
      let answered = false;
      const reset = vmm.reset().then(() => {
        answered = true;
      });
      await stranger.claim(token, 2n);
      await expect(control.retire(token, 1n)).rejects.toMatchObject({ code: 'ERR_CLAIM_STALE' });
      expect([answered, await stranger.migrationState()]).toEqual([false, STOP_COPY]);
      await stranger.release(token, 2n);
      await stranger.setMigrationState(RUNNING);
      await reset;
      expect(await stranger.claimStatus()).toMatchObject({ claimed: false, resets: 1n, state: RUNNING });
    });

    it('keeps the clock of the device going, with nobody there, with a client that is idle and with a busy one', async () => {
      await listening();
      const client = await connect();
      const before = await client.readU32(0, TICKS);
      const comesTo = async (ticks: number, pauseMs: number): Promise<void> => {
        while ((await client.readU32(0, TICKS)) < ticks) {
          if (pauseMs > 0) await delay(pauseMs);
        }
      };
      await comesTo(before + 5, 50);
      await comesTo(before + 10, 0);
    });

    it('serves the control socket while the main connection is idle, and while it is busy', async () => {
      await listening();
      const vmm = await connect();
      const control = await connect(`${socketPath}.control`);
      expect(await control.migrationState()).toBe(RUNNING);
      let busy = true;
      const load = (async () => {
        while (busy) await vmm.readU32(0, SCRATCH);
      })();
      const second = await connect(`${socketPath}.control`);
      expect(await second.migrationState()).toBe(RUNNING);
      expect(await second.inspectServer()).toMatchObject({ identity: { kind: 'clock' } });
      busy = false;
      await load;
    });

    it('moves the state of the device, and holds the VMM meanwhile', async () => {
      await listening();
      const vmm = await connect();
      const control = await connect(`${socketPath}.control`);
      await vmm.writeU32(0, SCRATCH, 4711);
      await control.setMigrationState(STOP_COPY);
      const held = vmm.readU32(0, SCRATCH);
      const chunks: Uint8Array[] = [];
      while ((await control.readMigrationData(16 * 1024, (chunk) => chunks.push(chunk.slice()))) > 0);
      await control.setMigrationState(STOP);
      await control.setMigrationState(RUNNING);
      expect(await held).toBe(4711);
      await vmm.writeU32(0, SCRATCH, 1);
      await control.setMigrationState(RESUMING);
      for (const chunk of chunks) await control.writeMigrationData(chunk);
      await control.setMigrationState(RUNNING);
      expect(await vmm.readU32(0, SCRATCH)).toBe(4711);
    });

    it('leaves the main thread alone', async () => {
      const served = await listening();
      const client = await connect();
      let busy = true;
      const load = (async () => {
        while (busy) await client.readU32(0, SCRATCH);
      })();
      served.tell('echo');
      expect(await served.event()).toEqual({ echo: true });
      busy = false;
      await load;
    });

    it.each(['while nobody is connected', 'while it blocks for a client'])(
      'ends when it is closed %s',
      async (when) => {
        const served = await listening();
        if (when.includes('client')) await (await connect()).readU32(0, SCRATCH);
        served.tell('close');
        expect(await served.event()).toEqual({ ended: true });
        expect(readdirSync(folder)).toEqual([]);
        expect(await served.ends()).toBe(0);
      },
    );

    it('does not keep process.exit waiting', async () => {
      const served = await listening();
      await (await connect()).readU32(0, SCRATCH);
      served.tell('exit');
      expect(await served.ends()).toBe(3);
    });

    it('does not keep terminate() waiting', async () => {
      const served = start({ worker: true });
      expect(await served.event()).toMatchObject({ kind: 'listening' });
      await (await connect()).readU32(0, SCRATCH);
      served.tell('terminate');
      expect(await served.ends()).toBe(0);
    });

    it.each([
      [
        'a device that works asynchronously',
        { factoryOptions: { asynchronous: true } },
        { code: 'ERR_DEVICE_ASYNCHRONOUS', errno: Errno.EOPNOTSUPP, message: /clock works asynchronously/ },
      ],
      [
        'a factory that fails',
        { factoryOptions: { broken: true } },
        { code: 'ERR_UNFORESEEN', errno: Errno.EIO, message: /no such luck/ },
      ],
      [
        'a module that does not exist',
        { factory: 'file:///nowhere.js' },
        { code: 'ERR_UNFORESEEN', errno: Errno.EIO, message: /nowhere/ },
      ],
      [
        'a folder that does not exist',
        { socketPath: '/nowhere/device.sock' },
        { code: 'ERR_SOCKET_LISTEN', errno: Errno.ENOENT, message: /ENOENT/ },
      ],
    ])('refuses %s, with the reason, and ends', async (_, options, { code, errno, message }) => {
      const served = start(options);
      const refused = { code, errno, message: expect.stringMatching(message) };
      expect(await served.event()).toEqual({ refused });
      expect(await served.ends()).toBe(0);
      expect(readdirSync(folder)).toEqual([]);
    });

    it('refuses a path in use', async () => {
      await listening();
      const second = start();
      expect(await second.event()).toMatchObject({
        refused: { code: 'ERR_SOCKET_IN_USE', errno: Errno.EADDRINUSE },
      });
    });
  },
);
