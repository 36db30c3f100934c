import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../../src/client/index.ts';
import { MemoryRegister } from '../../../src/devices/index.ts';
import { Errno } from '../../../src/errors/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import { lastJson, Shell } from '../ferry.ts';

let shell: Shell;
let control: string;

beforeEach(async () => {
  shell = new Shell();
  await shell.serve('memory', 'm.sock', '--size', '64K');
  control = shell.path('m.sock.control');
});
afterEach(async () => {
  await shell.close();
});

describe('ferry state', () => {
  it('shows the state, for either socket', async () => {
    for (const path of [control, shell.path('m.sock')]) {
      const { status, stdout } = await shell.run('state', path);
      expect(stdout).toBe('RUNNING\nmigration: driven by nobody\nmain connection: none\n');
      expect(status).toBe(0);
    }
  });

  it('goes to a state, by any spelling, and back', async () => {
    const stopped = await shell.run('state', control, '--set', 'stop-copy');
    expect(stopped.stdout).toMatch(/^STOP_COPY\n(.*\n)*hold: for /);
    const running = await shell.run('state', control, '--set', 'RUNNING');
    expect(running.stdout).toMatch(/^RUNNING\n(.*\n)*hold: none now; 1 so far/);
  });

  it('prints JSON', async () => {
    const { stdout } = await shell.run('state', control, '--set', 'STOP', '--json');
    expect(lastJson(stdout)).toMatchObject({
      state: 'STOP',
      migration: { sessionOwner: null, lastError: null },
      hold: { active: true, parkedCommands: 0 },
    });
  });

  it('resets: the device runs, without its state, and its VMM is no longer held', async () => {
    const vmm = await DeviceClient.connect(shell.path('m.sock'));
    try {
      await vmm.writeU32(0, MemoryRegister.SCRATCH, 7);
      await shell.run('state', control, '--set', 'RESUMING');
      expect((await shell.run('state', control, '--reset')).stdout).toMatch(/^RUNNING\n/);
      expect(await vmm.readU32(0, MemoryRegister.SCRATCH)).toBe(0);
    } finally {
      vmm.close();
    }
  });

  it('reports a change that is refused, and leaves the device where it was', async () => {
    await shell.run('state', control, '--set', 'STOP_COPY');
    const { status, stderr } = await shell.run('state', control, '--set', 'PRE_COPY');
    expect(status).toBe(1);
    expect(stderr).toContain('the device did not reach PRE_COPY: EINVAL, it is in STOP_COPY');
  });

  it('does not interfere with a controller that is at work', async () => {
    const other = await DeviceClient.connect(control);
    try {
      await other.setMigrationState(MigrationState.RESUMING);
      const { status, stdout } = await shell.run('state', control, '--set', 'STOP', '--json');
      expect(status).toBe(1);
      expect(lastJson(stdout)).toMatchObject({ error: { code: 'ERR_SESSION_BUSY', errno: 'EBUSY' } });
      expect((await shell.run('state', control)).stdout).toContain('driven by a control connection');
    } finally {
      other.close();
    }
    expect((await shell.run('state', control, '--reset')).status).toBe(0);
  });
});

describe('ferry state on a device that a migration has claimed', () => {
  const token = new Uint8Array(16).fill(7);

  /** Claims and retires the device, and is gone: what a migration leaves at its source. */
  async function handOver(): Promise<DeviceClient> {
    const migration = await DeviceClient.connect(control);
    await migration.claim(token, 3n);
    await migration.setMigrationState(MigrationState.STOP_COPY);
    await migration.retire(token, 3n);
    return migration;
  }

  it.each([['--set', 'RUNNING'], ['--set', 'STOP'], ['--reset']])(
    'refuses %s %s, and says whose it is and what to do',
    async (...args) => {
      (await handOver()).close();
      const { status, stderr } = await shell.run('state', control, ...args);
      expect(status).toBe(1);
      expect(stderr).toMatch(/belongs to migration [0-9a-f]{16} since 20\d\d-.* \(epoch 3, retired/);
      expect(stderr).toContain('ferry recover');
      expect(stderr).toContain('--force');
      expect((await shell.run('state', control)).stdout).toMatch(/^STOP_COPY\n/);
    },
  );

  it('shows the claim, in words and as JSON', async () => {
    const migration = await handOver();
    try {
      expect((await shell.run('state', control)).stdout).toMatch(
        /claim: belongs to migration [0-9a-f]{16} since .*, epoch 3; retired: the state has been handed over\n/,
      );
      expect((await shell.run('inspect', control)).stdout).toContain('claim: belongs to migration');
      const { stdout } = await shell.run('state', control, '--json');
      expect(lastJson(stdout)).toMatchObject({ claim: { epoch: '3', retired: true, attended: true } });
    } finally {
      migration.close();
    }
  });

  it.each([['--set', 'RUNNING'], ['--reset']])('takes it over with --force: %s %s', async (...args) => {
    const asleep = await handOver();
    try {
      const { status, stdout } = await shell.run('state', control, ...args, '--force');
      expect(stdout).toMatch(/^RUNNING\nmigration: driven by nobody\n/);
      expect(status).toBe(0);
      for (const late of [
        () => asleep.setMigrationState(MigrationState.STOP),
        () => asleep.retire(token, 3n),
        () => asleep.claim(token, 4n),
        () => asleep.reset(),
      ])
        await expect(late()).rejects.toMatchObject({ code: 'ERR_CLAIM_STALE', errno: Errno.ESTALE });
      expect((await shell.run('state', control)).stdout).toMatch(/^RUNNING\n/);
    } finally {
      asleep.close();
    }
  });

  it('wants to know what to force', async () => {
    expect((await shell.run('state', control, '--force')).status).toBe(2);
  });
});
