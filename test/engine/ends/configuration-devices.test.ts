import { afterEach, describe, expect, it } from 'vitest';
import { DeviceClient, parsePciConfig } from '../../../src/client/index.ts';
import { Edu, EduRegister } from '../../../src/devices/index.ts';
import {
  type ConfigurationNeed,
  clientEnd,
  type MigrateOptions,
  MigrationError,
  migrate,
  recover,
} from '../../../src/engine/index.ts';
import { Journals, MemoryJournalFiles } from '../../../src/journal/index.ts';
import { ConfigurationMode, IrqIndex, RegionIndex } from '../../../src/protocol/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import { serveForTest } from '../../helpers/served.ts';
import { AddressedDevice, CarelessDevice, FilteringDevice, ForgetfulDevice } from './configured-devices.ts';

const { CONFIG } = RegionIndex;
const BAR0 = 0xfe40_0000;
const LINE = 11;
const [COMMAND_AT, BAR0_AT, LINE_AT] = [0x04, 0x10, 0x3c];
/** Memory space, bus master. */
const COMMAND = 0x0006;
const INTX_DISABLE = 0x0400;
const MSIX_ENABLE = 0x8000;
const TIMEOUT = 160_000;
/** A busy machine takes its time. */
const PATIENCE = { timeoutMs: 60_000, hookTimeoutMs: 60_000, limits: { downtimeMs: 60_000 } };
const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

type Device = AddressedDevice | ForgetfulDevice | Edu;

/** Serves a device; `ask` opens clients: `ferry` ones on the control socket, others as if the server knew no Ferry. */
function serve<D extends Device>(device: D) {
  const served = serveForTest(device);
  cleanups.push(() => served.close());
  const connect = async (path: string, foreign = false): Promise<DeviceClient> => {
    const client = await DeviceClient.connect(path, {
      timeoutMs: 60_000,
      ...(foreign ? { capabilities: { ferry: {} } } : {}),
    });
    cleanups.push(() => client.close());
    return client;
  };
  return {
    device,
    vmm: () => connect(served.socketPath),
    control: () => connect(served.controlPath),
    foreign: () => connect(served.socketPath, true),
  };
}

/** What a guest's system sets up, and a value for each register. */
async function setUp(client: DeviceClient): Promise<void> {
  await client.writeU32(CONFIG, BAR0_AT, BAR0);
  await client.writeU8(CONFIG, LINE_AT, LINE);
  await client.writeU16(CONFIG, await msixControl(client), MSIX_ENABLE);
  await client.writeU16(CONFIG, COMMAND_AT, COMMAND | INTX_DISABLE);
  for (let i = 0; i < 16; i++) await client.writeU32(0, 4 * i, 0x1000 + i);
}

async function msixControl(client: DeviceClient): Promise<number> {
  const config = parsePciConfig(await client.read(CONFIG, 0, 256));
  const msix = config?.capabilities.find(({ id }) => id === 0x11);
  if (msix === undefined) throw new Error('the device has no MSI-X');
  return msix.offset + 2;
}

/** What the guest finds. */
async function found(client: DeviceClient) {
  return {
    bar: ((await client.readU32(CONFIG, BAR0_AT)) & ~0xf) >>> 0,
    line: await client.readU8(CONFIG, LINE_AT),
    msix: (await client.readU16(CONFIG, await msixControl(client))) & MSIX_ENABLE,
    command: await client.readU16(CONFIG, COMMAND_AT),
  };
}

const WHOLE = { bar: BAR0, line: LINE, msix: MSIX_ENABLE, command: COMMAND | INTX_DISABLE };
const VALUES = Array.from({ length: 16 }, (_, i) => 0x1000 + i);

/** Moves between two devices of a kind, as servers that know nothing of Ferry, in the way that the user names. */
async function moveForeign(
  make: new (mode: null) => AddressedDevice | ForgetfulDevice,
  configuration: ConfigurationNeed,
  options: MigrateOptions = {},
) {
  const [here, there] = [serve(new make(null)), serve(new make(null))];
  const [from, to] = [await here.foreign(), await there.foreign()];
  await setUp(from);
  const moved = migrate(
    clientEnd(from, 'here', { configuration }),
    clientEnd(to, 'there', { configuration }),
    { ...PATIENCE, ...options },
  );
  const report = await moved;
  return { report, found: await found(to), values: [...there.device.values] };
}

describe('a device that has to know its configuration before its data', () => {
  it(
    'arrives whole when that goes ahead',
    async () => {
      const { found, values, report } = await moveForeign(AddressedDevice, 'ahead');
      expect(found).toEqual(WHOLE);
      expect(values).toEqual(VALUES);
      expect(report.bytes.preCopy, 'and each round').toBeGreaterThan(0);
    },
    TIMEOUT,
  );

  it(
    'refuses its data when that comes at the end, and the source runs on',
    async () => {
      const moved = moveForeign(AddressedDevice, 'none');
      await expect(moved).rejects.toMatchObject({
        message: expect.stringContaining('the destination refused data'),
        owner: 'source',
        sourceState: MigrationState.RUNNING,
      });
    },
    TIMEOUT,
  );
});

describe('a device whose data has to be loaded before its configuration', () => {
  it(
    'arrives whole when that comes at the end',
    async () => {
      const { found, values } = await moveForeign(ForgetfulDevice, 'none');
      expect(found).toEqual(WHOLE);
      expect(values).toEqual(VALUES);
    },
    TIMEOUT,
  );

  it(
    'has lost it when that goes ahead',
    async () => {
      const { found, values } = await moveForeign(ForgetfulDevice, 'ahead');
      expect(values).toEqual(VALUES);
      expect(found.bar).toBe(0);
      expect(found.line).toBe(0);
    },
    TIMEOUT,
  );
});

describe('a device that filters and reorders by itself', () => {
  it(
    'gets its configuration every time, with nothing withheld',
    async () => {
      const { found, values } = await moveForeign(FilteringDevice, 'every-time');
      expect(found).toEqual(WHOLE);
      expect(values).toEqual(VALUES);
    },
    TIMEOUT,
  );

  it(
    'is broken by that if it does not',
    async () => {
      const { found } = await moveForeign(CarelessDevice, 'every-time');
      expect(found).toMatchObject({ bar: 0, msix: 0 });
    },
    TIMEOUT,
  );
});

describe('interrupts', () => {
  it.each([
    [AddressedDevice, ConfigurationMode.AHEAD],
    [ForgetfulDevice, ConfigurationMode.AT_END],
  ] as const)(
    'of %o are armed after the hook for the interrupt controller, not before',
    async (make, mode) => {
      const [here, there] = [serve(new make(mode)), serve(new make(mode))];
      await setUp(await here.vmm());
      const looker = await there.control();
      const before: unknown[] = [];
      await migrate(clientEnd(await here.control()), clientEnd(await there.control()), {
        ...PATIENCE,
        hooks: { armInterrupts: async () => void before.push(await found(looker)) },
      });
      expect(before).toEqual([{ ...WHOLE, msix: 0 }]);
      expect(await found(looker)).toEqual(WHOLE);
    },
    TIMEOUT,
  );

  it(
    'that are pending in the state of a device are delivered after that hook too, and none is lost',
    async () => {
      const [here, there] = [serve(new Edu()), serve(new Edu())];
      const [guest, waiting] = [await here.vmm(), await there.vmm()];
      await guest.writeU32(0, EduRegister.INTERRUPT_RAISE, 1);
      const fired: number[] = [];
      await waiting.enableInterrupts(IrqIndex.INTX, 1, () => fired.push(1));
      let atTheHook: number | null = null;
      const settled = async (): Promise<void> => {
        // An answer that comes after it would have been signalled, and some turns for the watch of the eventfd.
        await waiting.irqInfo(IrqIndex.INTX);
        for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
      };
      await migrate(clientEnd(await here.control()), clientEnd(await there.control()), {
        ...PATIENCE,
        hooks: {
          armInterrupts: async () => {
            await settled();
            atTheHook = fired.length;
          },
        },
      });
      await waiting.readU32(0, EduRegister.INTERRUPT_STATUS);
      await expect.poll(() => fired.length, { timeout: 60_000 }).toBe(1);
      expect(atTheHook).toBe(0);
    },
    TIMEOUT,
  );
});

describe("Ferry's own servers", () => {
  it.each([
    ['that need it ahead', AddressedDevice, ConfigurationMode.AHEAD, 'ahead'],
    ['that need it at the end', ForgetfulDevice, ConfigurationMode.AT_END, 'none'],
    ['that filter', FilteringDevice, ConfigurationMode.EVERY_TIME, 'every-time'],
  ] as const)(
    '%s say so, and let their controller set it up',
    async (_, make, mode, need) => {
      const [here, there] = [serve(new make(mode)), serve(new make(mode))];
      await setUp(await here.vmm());
      const [from, to] = [clientEnd(await here.control()), clientEnd(await there.control())];
      expect(await from.configurationNeed?.()).toBe(need);
      await migrate(from, to, PATIENCE);
      expect(await found(await there.vmm())).toEqual(WHOLE);
      expect([...there.device.values]).toEqual(VALUES);
    },
    TIMEOUT,
  );

  it(
    'are not talked out of it, but those that say nothing are believed to be as the user says',
    async () => {
      const served = serve(new AddressedDevice(ConfigurationMode.AHEAD));
      const client = await served.control();
      expect(() => clientEnd(client, 'it', { configuration: 'none' })).toThrow(
        /travels ahead, and not once, at the end/,
      );
      expect(() => clientEnd(client, 'it', { configuration: null })).toThrow(/and not in the device's state/);
      expect(clientEnd(client, 'it', { configuration: 'ahead' }).writeConfiguration).toBeDefined();
      const foreign = await served.foreign();
      expect(clientEnd(foreign).writeConfiguration).toBeUndefined();
      expect(await clientEnd(foreign, 'it', { configuration: 'none' }).configurationNeed?.()).toBe('none');
    },
    TIMEOUT,
  );

  it(
    'that say nothing have it in their state: nobody else writes it, and a controller may not',
    async () => {
      const { control } = serve(new AddressedDevice(ConfigurationMode.IN_STATE));
      const client = await control();
      expect(clientEnd(client).writeConfiguration).toBeUndefined();
      await client.setMigrationState(MigrationState.RESUMING);
      await expect(client.writeU32(CONFIG, BAR0_AT, BAR0)).rejects.toMatchObject({
        errno: expect.any(Number),
      });
    },
    TIMEOUT,
  );

  it(
    'take it from who drives the migration, and only while the device is being loaded',
    async () => {
      const { control } = serve(new AddressedDevice(ConfigurationMode.AHEAD));
      const [driver, other] = [await control(), await control()];
      const write = (client: DeviceClient): Promise<void> => client.writeU32(CONFIG, BAR0_AT, BAR0);
      await expect(write(driver), 'it runs').rejects.toThrow();
      await driver.setMigrationState(MigrationState.RESUMING);
      await write(driver);
      await expect(write(other), 'another one drives').rejects.toThrow();
      await expect(driver.writeU32(0, 0, 1), 'a BAR').rejects.toThrow();
      await driver.setMigrationState(MigrationState.STOP);
      await write(driver);
      await driver.setMigrationState(MigrationState.RUNNING);
      await expect(write(driver), 'it runs again').rejects.toThrow();
    },
    TIMEOUT,
  );
});

describe('a destination whose process ends before it has armed interrupts', () => {
  it(
    'is finished by the recovery, which knows from the journal what was withheld',
    async () => {
      const [here, there] = [
        serve(new AddressedDevice(ConfigurationMode.AHEAD)),
        serve(new AddressedDevice(ConfigurationMode.AHEAD)),
      ];
      await setUp(await here.vmm());
      const journals = new Journals(new MemoryJournalFiles());
      const [from, to] = [clientEnd(await here.control()), clientEnd(await there.control())];
      const die = (): void => {
        throw new Error('it has ended');
      };
      const error = await migrate(from, to, { ...PATIENCE, journals, hooks: { armInterrupts: die } }).catch(
        (reason: unknown) => reason,
      );
      if (!(error instanceof MigrationError) || error.timeline === null) throw error;
      expect([error.owner, error.destinationState]).toEqual(['destination', MigrationState.STOP]);
      const vmm = await there.vmm();
      expect(await found(vmm), 'withheld').toMatchObject({ msix: 0 });
      const recovery = await recover({
        ...{ group: error.timeline.group, role: 'receiver', journals, timeoutMs: 60_000 },
        devices: [clientEnd(await there.control())],
      });
      expect(recovery).toMatchObject({ owner: 'destination', complete: true });
      expect(recovery.states).toEqual([MigrationState.RUNNING]);
      expect(await found(vmm)).toEqual(WHOLE);
    },
    TIMEOUT,
  );
});
