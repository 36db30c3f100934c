import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { DeviceClient, parsePciConfig } from '../../src/client/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { replayList } from '../../src/vm/destination/replay-list.ts';
import { GdbClient } from '../../src/vm/index.ts';
import type { DeviceRecord } from '../../src/vm/record.ts';
import { Shell } from '../cli/ferry.ts';
import type { AttachedDevice, Guest, GuestOptions } from './harness/guest.ts';
import { describeInGuests, type Lab } from './harness/lab.ts';
import { Load } from './harness/load.ts';

/** What is lost once must not be forgiven. */
const ONCE = { retry: 0, timeout: 240_000 };
const MiB = 2 ** 20;
/** Where SeaBIOS puts configuration space on q35; a slot takes 32 KiB of it. */
const ECAM = 0xb000_0000;
const SLOT = 0x10;
const CONFIG_AT = BigInt(ECAM + (SLOT << 15));
const CONFIG_BYTES = 256;
const ENTRY_BYTES = 16;
/** What a kernel says of a clock that has stood still. */
const CLOCK = /clocksource|local clock|sched_clock/;

/** A QEMU that is killed and started anew, with the same servers: one keeps its state, one does not. */
function restartTests(lab: Lab): void {
  let shell: Shell;
  let guest: Guest;
  let devices: readonly AttachedDevice[];
  beforeAll(async () => {
    shell = new Shell();
    await shell.serve('edu', 'kept.sock');
    await shell.serve('edu', 'reset.sock', '--on-reconnect', 'reset');
    devices = ['kept', 'reset'].map((id, i) => ({
      id,
      socketPath: shell.path(`${id}.sock`),
      slot: SLOT + i,
    }));
    guest = await lab.boot({ machine: 'q35', memory: 'shared', devices });
  });
  afterAll(async () => {
    await guest?.close();
    await shell.close();
  });

  const liveness = (which: 'kept' | 'reset', value = ''): Promise<string> =>
    guest.run(`edu 0000:00:${which === 'kept' ? 10 : 11}.0 liveness ${value}`);

  it('a guest leaves something in both devices, and its QEMU is killed', ONCE, async () => {
    for (const which of ['kept', 'reset'] as const) await liveness(which, '1');
    expect(await shell.run('reconnect', shell.path('kept.sock'), 'keep')).toMatchObject({ status: 0 });
    await guest.close();
    const { stdout } = await shell.run('reconnect', shell.path('kept.sock'));
    expect(stdout).toContain('in STOP: no VMM has come yet');
  });

  it('another QEMU attaches, and resets what is not kept', ONCE, async () => {
    guest = await lab.boot({ machine: 'q35', memory: 'shared', devices });
    expect(await liveness('reset')).toBe('0x00000000');
  });

  it('what was kept goes on when that is said, and later resets are resets', ONCE, async () => {
    const control = await DeviceClient.connect(shell.path('kept.sock.control'));
    try {
      const { kept } = await control.reconnection(null);
      expect(kept?.returned).toBe(true);
      expect(kept?.withheldResets).toBeGreaterThan(0);
      // Not by the command: it may take longer to start than a VMM waits.
      const read = liveness('kept');
      await vi.waitUntil(async () => Number(Object(await control.inspectServer()).hold.parkedCommands) > 0, {
        timeout: 20_000,
      });
      expect(await control.reconnection('continue')).toMatchObject({ policy: 'keep', kept: null });
      expect(await read).toBe('0xfffffffe');
    } finally {
      control.close();
    }
    await guest.run('edu 0000:00:10.0 dma 3');
    await guest.reset();
    expect(await liveness('kept')).toBe('0x00000000');
    expect(guest.complaints).toBe('');
  });
}

/** QEMU is replaced under a running guest by cpr-transfer, which connects anew and resets the device. */
function transferTests(lab: Lab): void {
  let shell: Shell;
  let old: Guest;
  let fresh: Guest;
  beforeAll(async () => {
    shell = new Shell();
    await shell.serve('nvme', 'nvme.sock', '--ram', '8M', '--on-reconnect', 'keep');
  });
  afterAll(async () => {
    await fresh?.close();
    await old?.close();
    await shell.close();
  });

  it('nvme goes on in the new QEMU with what it was in the middle of', ONCE, async () => {
    const socketPath = shell.path('nvme.sock');
    const options: GuestOptions = {
      ...({ machine: 'q35', memory: 'shared' } as const),
      devices: [{ id: 'nvme', socketPath, slot: SLOT }],
      cpr: { main: lab.path('main'), channel: lab.path('cpr') },
    };
    old = await lab.boot(options);
    await old.load('nvme');
    await old.until('test -b /dev/nvme0n1');
    const load = await Load.start(old, `disk /dev/nvme0n1 $end 2 ${MiB}`);
    await old.run('usleep 500000');
    const control = await DeviceClient.connect(`${socketPath}.control`);
    try {
      const qmp = await old.qmp();
      await qmp.execute('stop');
      await control.setMigrationState(MigrationState.STOP);
      const table = await readTable(old, await control.read(7, 0, CONFIG_BYTES), lab.path('table'));
      fresh = await transfer(lab, old, options);
      const { kept } = await control.reconnection(null);
      expect(kept).toMatchObject({ returned: true });
      expect(kept?.withheldResets).toBeGreaterThan(0);
      await replay(lab.path('gdb'), {
        ...{ bus: 0, slot: SLOT, function: 0 },
        config: kept?.configuration.subarray(0, CONFIG_BYTES) ?? new Uint8Array(0),
        msixTable: table,
      });
      // Both QEMUs have the same eventfds (hw/vfio/cpr.c), and the old one would go on taking interrupts from them.
      await old.close();
      await (await fresh.qmp()).execute('cont');
      await control.setMigrationState(MigrationState.RUNNING);
      expect(await control.reconnection(null)).toMatchObject({ policy: 'keep', kept: null });
    } finally {
      control.close();
    }
    load.movedTo(fresh);
    await fresh.run('usleep 500000');
    await load.end();
    const [reads = 0] = (await load.output()).split(' ').map(Number);
    expect(reads).toBeGreaterThan(0);
    expect((await fresh.kernelComplaints()).filter((line) => !CLOCK.test(line))).toEqual([]);
    expect(fresh.complaints).toBe('');
  });
}

/** The MSI-X table, which QEMU keeps to itself, at the guest's address of it. */
async function readTable(guest: Guest, bytes: Uint8Array, file: string): Promise<Uint8Array> {
  const config = parsePciConfig(bytes);
  const details = config?.capabilities.find(({ id }) => id === 0x11)?.details ?? {};
  const bar = config?.bars.find(({ index }) => index === details['tableBar']);
  const val = Number(bar?.address ?? 0n) + Number(details['tableOffset']);
  const size = Number(details['vectors']) * ENTRY_BYTES;
  await (await guest.qmp()).execute('pmemsave', { val, size, filename: file });
  return readFileSync(file);
}

async function transfer(lab: Lab, old: Guest, options: GuestOptions): Promise<Guest> {
  const { main, channel } = options.cpr ?? { main: '', channel: '' };
  const coming = lab.expect({ ...options, incoming: { gdbPath: lab.path('gdb') } });
  await vi.waitUntil(() => existsSync(channel), { timeout: 20_000 });
  const qmp = await old.qmp();
  await qmp.execute('migrate-set-parameters', { mode: 'cpr-transfer' });
  const unix = (path: string): object => ({ transport: 'socket', type: 'unix', path });
  await qmp.execute('migrate', {
    channels: [
      { 'channel-type': 'main', addr: unix(main) },
      { 'channel-type': 'cpr', addr: unix(channel) },
    ],
  });
  const fresh = await coming;
  const done = async (): Promise<boolean> =>
    Object(await (await fresh.qmp()).execute('query-migrate')).status === 'completed';
  await vi.waitUntil(done, { timeout: 30_000, interval: 50 });
  return fresh;
}

/** Makes the device of the new QEMU what it was in the old one; the VM stands still meanwhile. */
async function replay(gdbPath: string, record: DeviceRecord): Promise<void> {
  const gdb = await GdbClient.connect(gdbPath, { timeoutMs: 10_000 });
  try {
    const own = await gdb.read(CONFIG_AT, CONFIG_BYTES);
    const config = parsePciConfig(record.config);
    const details = config?.capabilities.find(({ id }) => id === 0x11)?.details ?? {};
    const bar = config?.bars.find(({ index }) => index === details['tableBar']);
    const table = (bar?.address ?? 0n) + BigInt(Number(details['tableOffset']));
    for (const { to, offset, bytes } of replayList(own, record)) {
      await gdb.write((to === 'table' ? table : CONFIG_AT) + BigInt(offset), bytes);
    }
  } finally {
    gdb.close();
  }
}

describeInGuests('a server whose VMM comes back', (lab) => {
  const here = lab.kernel.flavour === 'full' || process.env['FERRY_GUEST_ALL'] !== undefined;
  describe.runIf(here)('after it was killed', () => restartTests(lab));
  describe.runIf(here)('by cpr-transfer', () => transferTests(lab));
});
