import { describe, expect, it } from 'vitest';
import { deviceEnd, migrate } from '../../src/engine/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { KernelDevice, KernelError, KernelSessionError, KernelStateError } from '../../src/kernel/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import type { FakeDriverOptions } from './fake-driver.ts';
import { FakeKernel } from './fake-kernel.ts';
import { opened, readOnce, UUID } from './opened.ts';

const { RUNNING, STOP, STOP_COPY, RESUMING, PRE_COPY, ERROR } = MigrationState;

/** What an attempt was refused with. */
async function refusal(attempt: Promise<unknown>): Promise<unknown> {
  return attempt.then(
    () => 'no error',
    (error: unknown) => error,
  );
}

const DRIVERS: readonly (readonly [string, FakeDriverOptions])[] = [
  ['says 0 when it is dry, without poll', {}],
  ['says ENOMSG when it is dry, without poll', { dry: 'ENOMSG' }],
  ['says ENOMSG when it is dry, with poll', { dry: 'ENOMSG', poll: true }],
  ['knows no version 2 of the information', { precopyV2: false }],
  ['has no P2P states', { flags: 5 }],
  ['has no pre-copy', { flags: 3 }],
  ['does not tell its size', { tellsSize: false }],
];

describe('a driver that', () => {
  it.each(DRIVERS)('%s is migrated by the engine', async (_, options) => {
    const kernel = new FakeKernel();
    const [a, b] = [kernel.add(UUID, options), kernel.add(UUID.replace('1001', '1002'), options)];
    a.driver.registers.set([0x1b, 0, 0, 0, 0xa5], 3);
    const where = { system: kernel, sysfs: kernel.sysfs };
    const [from, to] = [await KernelDevice.open(a.name, where), await KernelDevice.open(b.name, where)];
    const source = await deviceEnd(from);
    const report = await migrate(source, await deviceEnd(to, source));
    expect(report.bytes.total).toBe(96);
    expect([...b.driver.registers]).toEqual([...a.driver.registers]);
    expect([a.driver.state, b.driver.state]).toEqual([STOP, RUNNING]);
    from.close();
    to.close();
    expect(kernel.files.size).toBe(0);
  });

  it.each(['zero', 'ENOMSG'] as const)(
    'says %s has nothing for now, and more after the stop',
    async (dry) => {
      const { device } = await opened({ dry });
      await device.setMigrationState(PRE_COPY);
      expect([await readOnce(device), await readOnce(device), await readOnce(device)]).toEqual([24, 0, 0]);
      await device.setMigrationState(STOP_COPY);
      expect([await readOnce(device), await readOnce(device)]).toEqual([72, 0]);
    },
  );

  it('has poll is not read while it has nothing', async () => {
    const { device, kernel, fake } = await opened({ poll: true, dry: 'ENOMSG' });
    await device.setMigrationState(PRE_COPY);
    expect(await readOnce(device)).toBe(24);
    fake.driver.read = () => {
      throw new Error('read although there is nothing');
    };
    expect(await readOnce(device)).toBe(0);
    expect(await device.migration.waitReadable(5)).toBe(false);
    expect(kernel.calls.length).toBeGreaterThan(0);
  });

  it('has poll, and has stopped, is waited for until it has its next piece', async () => {
    const { device, kernel, fake } = await opened({ poll: true });
    await device.setMigrationState(STOP_COPY);
    const { driver } = fake;
    const { ready } = driver;
    driver.ready = () => 0;
    const watched = new Promise<() => void>((resolve) => {
      const { watchStart } = kernel;
      kernel.watchStart = (fd, onReadable) => {
        resolve(onReadable);
        return watchStart.call(kernel, fd, () => {});
      };
    });
    const read = readOnce(device);
    const wake = await watched;
    driver.ready = ready;
    wake();
    expect(await read).toBe(96);
  });

  it('has no poll is waited for by the clock', async () => {
    const { device } = await opened();
    await device.setMigrationState(PRE_COPY);
    expect(await device.migration.waitReadable(1)).toBe(true);
  });
});

describe('a session', () => {
  it('has one transfer under way at a time, in the order of the calls', async () => {
    const { device, fake } = await opened();
    await device.setMigrationState(STOP_COPY);
    const bytes: number[] = [];
    // The fake refuses two transfers at a time.
    const reads = Array.from({ length: 8 }, () =>
      device.readMigrationData(20, (chunk) => bytes.push(...chunk)),
    );
    expect(await Promise.all(reads)).toEqual([20, 20, 20, 20, 16, 0, 0, 0]);
    expect(Uint8Array.from(bytes)).toEqual(fake.driver.saved());
  });

  it('is written in as many pieces as the driver takes', async () => {
    const { device, fake } = await opened();
    const state = fake.driver.saved();
    await device.setMigrationState(RESUMING);
    const reused = state.slice();
    const writing = device.writeMigrationData(reused);
    reused.fill(0);
    await writing;
    expect(Uint8Array.from(fake.driver.session?.written ?? [])).toEqual(state);
  });

  it('goes on from PRE_COPY to STOP_COPY, and its file is closed with it', async () => {
    const { device, kernel } = await opened();
    await device.setMigrationState(PRE_COPY);
    const { session } = device.migration;
    await device.setMigrationState(STOP_COPY);
    expect(device.migration.session).toBe(session);
    await device.setMigrationState(STOP);
    expect(device.migration.session).toBe(null);
    expect([...kernel.files.values()].some(({ kind }) => kind === 'session')).toBe(false);
  });

  it('of an earlier user is not taken over', async () => {
    const { device, fake, kernel } = await opened();
    fake.driver.go(RESUMING);
    const error = await refusal(device.setMigrationState(RESUMING));
    expect(error).toMatchObject({ code: 'ERR_KERNEL_LEFT_OVER', errno: Errno.EBUSY });
    await device.reset();
    await device.setMigrationState(RESUMING);
    expect(device.migration.session?.kind).toBe('resuming');
    device.close();
    expect(kernel.files.size).toBe(0);
  });

  it('that a reset by somebody else has ended is told as such', async () => {
    const { device, fake } = await opened();
    await device.setMigrationState(STOP_COPY);
    fake.driver.reset();
    expect(await refusal(readOnce(device))).toMatchObject({
      ...{ code: 'ERR_SESSION_ABORTED', errno: Errno.ENODEV, reached: RUNNING, needsReset: false },
    });
  });

  it.each([
    ['what is no state', new Uint8Array(96).fill(0xee), Errno.EFAULT],
    ['more than there can be', new Uint8Array(200), Errno.ENOMEM],
  ])('that is given %s tells where its device is then', async (_, bytes, errno) => {
    const { device } = await opened();
    await device.setMigrationState(RESUMING);
    const error = await refusal(device.writeMigrationData(bytes));
    expect(error).toBeInstanceOf(KernelSessionError);
    expect(error).toMatchObject({ code: 'ERR_KERNEL', errno, reached: RESUMING, needsReset: false });
  });

  it('of a driver that gives up says that a reset is needed', async () => {
    const { device, fake } = await opened();
    await device.setMigrationState(RESUMING);
    fake.driver.write = () => {
      fake.driver.state = ERROR;
      return -Errno.EIO;
    };
    expect(await refusal(device.writeMigrationData(new Uint8Array(8)))).toMatchObject({
      ...{ errno: Errno.EIO, reached: ERROR, needsReset: true, message: expect.stringContaining('reset') },
    });
  });

  it.each(['read', 'write'] as const)('is needed to %s', async (what) => {
    const { device } = await opened();
    const act = what === 'read' ? readOnce(device) : device.writeMigrationData(new Uint8Array(1));
    expect(await refusal(act)).toBeInstanceOf(KernelError);
  });
});

describe('a change of state', () => {
  it('that fails half-way tells where the device has got to', async () => {
    const { device } = await opened({ failAt: { state: STOP_COPY, into: STOP_COPY } });
    const error = await refusal(device.setMigrationState(STOP_COPY));
    expect(error).toBeInstanceOf(KernelStateError);
    expect(error).toMatchObject({ errno: Errno.EIO, requested: STOP_COPY, reached: STOP, needsReset: false });
  });

  it('that ends in ERROR says that a reset is needed', async () => {
    const { device, fake } = await opened();
    fake.driver.go = () => {
      fake.driver.state = ERROR;
      return -Errno.EIO;
    };
    expect(await refusal(device.setMigrationState(STOP))).toMatchObject({ reached: ERROR, needsReset: true });
  });

  it('is refused by a driver that does not migrate', async () => {
    const { device } = await opened({ flags: null });
    expect(await device.migrationFlags()).toBe(null);
    expect(await refusal(device.migrationState())).toMatchObject({ code: 'ERR_KERNEL_LACKS' });
    expect(await refusal(device.setMigrationState(STOP))).toMatchObject({
      errno: Errno.ENOTTY,
      reached: null,
    });
  });
});

describe('information about pre-copy', () => {
  it.each([
    [true, true],
    [false, false],
  ])('is believed about new initial data only in version 2 (%s)', async (precopyV2, reinitialized) => {
    const { device, fake } = await opened({ precopyV2 });
    expect(await device.precopyInfo()).toBe(null);
    await device.setMigrationState(PRE_COPY);
    fake.driver.reinit = true;
    expect(await device.precopyInfo()).toEqual({ initialBytes: 24n, dirtyBytes: 0n, reinitialized });
    await device.setMigrationState(STOP_COPY);
    expect(await device.precopyInfo()).toBe(null);
  });

  it('and the size are null where a driver does not tell', async () => {
    const { device } = await opened({ tellsSize: false });
    expect(await device.migrationDataSize()).toBe(null);
  });
});

describe('a reset', () => {
  it('that a driver can not do says what to do instead, and leaves the session', async () => {
    const { device } = await opened({ resettable: false });
    await device.setMigrationState(STOP_COPY);
    expect(await refusal(device.reset())).toMatchObject({
      code: 'ERR_KERNEL_LACKS',
      message: expect.stringContaining('create it again'),
    });
    expect(await readOnce(device)).toBe(96);
  });

  it('ends the session', async () => {
    const { device } = await opened();
    await device.setMigrationState(RESUMING);
    expect(await device.reset()).toEqual({ rung: 'reset', state: RUNNING });
    expect(device.migration.session).toBe(null);
  });
});
