import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { PciDevice } from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { MigrationState, migrationMachine, sessionKind, stateName } from '../../src/states/index.ts';
import { fields, type RawClient } from '../helpers/raw-client.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { getState, loadState, readData, saveState, setState, writeData } from './migration-driver.ts';
import { ScriptedMigration } from './scripted-migration.ts';
import { testServers } from './test-servers.ts';
import { Tiny } from './tiny-device.ts';

const { ERROR, STOP, RUNNING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P } = MigrationState;
const { EINVAL, ENOTTY } = Errno;
const GET = 0x1_0000;
const SET = 0x2_0000;
const PROBE = 0x4_0000;
const { serve, controlled } = testServers();

/** Brings a device to a state from wherever it is. */
async function bringTo(control: RawClient, state: number): Promise<void> {
  expect((await control.request(13)).error).toBe(0);
  expect(await setState(control, state)).toBe(0);
  expect(await getState(control)).toBe(state);
}

describe('a change of state', () => {
  const recorded = readFileSync(
    new URL('../fixtures/kernel-mtty-transition-matrix.txt', import.meta.url),
    'utf8',
  )
    .split('\n')
    .flatMap((line) => {
      const match = /^ (\w+) +-> (\S+) +: (\w+) +state=(\w+) fd=(\S+)/.exec(line);
      return match === null ? [] : [match.slice(1).map(String)];
    });
  const numberOf = new Map<string, number>([...Object.entries(MigrationState), ['(8)', 8]]);

  it('ends as the kernel has recorded it, for every pair of states', async () => {
    const { control } = await controlled(new TestDevice());
    expect(recorded).toHaveLength(63);
    for (const [from = '', to = '', errno = '', reached = '', fd = ''] of recorded) {
      await bringTo(control, numberOf.get(from) ?? -1);
      const outcome = await setState(control, numberOf.get(to) ?? -1);
      expect([outcome, stateName(await getState(control))], `${from} to ${to}`).toEqual([
        errno === '0' ? 0 : EINVAL,
        reached,
      ]);
      if (fd !== 'new') continue;
      const kind = sessionKind(
        Object.values(MigrationState).find((state) => stateName(state) === reached) ?? ERROR,
      );
      const transfer =
        kind === 'saving' ? (await readData(control, 8)).error : await writeData(control, Buffer.alloc(0));
      expect(transfer, `${from} to ${to} opens a session`).toBe(0);
    }
  });

  /** A device whose author has written the migration by hand. */
  class ByHand extends TestDevice {
    readonly script: ScriptedMigration;
    constructor(flags: number) {
      super();
      this.script = new ScriptedMigration(flags);
    }
    override createMigration(): ScriptedMigration {
      return this.script;
    }
  }

  const { tables } = JSON.parse(
    readFileSync(new URL('../fixtures/v2-transition-tables.json', import.meta.url), 'utf8'),
  ) as {
    tables: { flags: number; states: string[]; changes: { from: string; to: string; path: string[] }[] }[];
  };

  it.each(tables)(
    'takes the path of the reference, arc by arc, with migration flags $flags',
    async ({ flags, states, changes }) => {
      const { device, control } = await controlled(new ByHand(flags));
      const info = await control.request(16, fields(16, GET | 1));
      expect(Buffer.from(info.payload).readBigUInt64LE(8)).toBe(BigInt(flags));
      for (const from of Object.keys(MigrationState)) {
        if (!states.includes(from) || from === 'ERROR') continue;
        for (const [to, number] of numberOf) {
          expect((await control.request(13)).error).toBe(0);
          device.script.reset();
          expect(await setState(control, numberOf.get(from) ?? -1)).toBe(0);
          device.script.arcs.length = 0;
          const path =
            from === to ? [] : changes.find((change) => change.from === from && change.to === to)?.path;
          const outcome = await setState(control, number);
          expect([outcome, stateName(await getState(control))], `${from} to ${to}`).toEqual([
            path === undefined ? EINVAL : 0,
            path === undefined ? from : to,
          ]);
          expect(device.script.arcs).toEqual(
            (path ?? []).map((next, i) => `${path?.[i - 1] ?? from}>${next}`),
          );
        }
      }
    },
  );

  it.each([
    [1, [RUNNING_P2P, PRE_COPY, PRE_COPY_P2P]],
    [3, [PRE_COPY, PRE_COPY_P2P]],
    [5, [RUNNING_P2P, PRE_COPY_P2P]],
  ])(
    'to a state that a device with flags %i lacks is EINVAL, and nothing happens',
    async (flags, lacking) => {
      const { device, control } = await controlled(new ByHand(flags));
      for (const state of lacking) {
        expect(migrationMachine(flags).has(state)).toBe(false);
        expect(await setState(control, state)).toBe(EINVAL);
      }
      expect(device.script.arcs).toEqual([]);
      expect(await getState(control)).toBe(RUNNING);
    },
  );

  it('is echoed to the byte, data_fd included', async () => {
    const { control } = await controlled(new TestDevice());
    const request = fields(16, SET | 2, STOP, 42);
    const reply = await control.request(16, request);
    expect(Buffer.from(reply.payload)).toEqual(request);
    const get = await control.request(16, fields(64, GET | 2));
    expect(Buffer.from(get.payload)).toEqual(fields(16, GET | 2, STOP, 0xffff_ffff));
  });

  it('can be made by a client that owns both the accesses and the migration', async () => {
    const source = serve(new Tiny());
    const destination = serve(new Tiny());
    const [from, to] = [await source.main(), await destination.main()];
    await from.request(10, fields(0n, 0, 4, 0x55));
    await loadState(to, await saveState(from));
    expect(await setState(to, RUNNING)).toBe(0);
    const reply = await to.request(9, fields(0n, 0, 4));
    expect(Buffer.from(reply.payload).readUInt32LE(16)).toBe(0x55);
  });

  it('is not for a device without a declared state: ENOTTY', async () => {
    class Immovable extends PciDevice {
      override readonly identity = { kind: 'rock', vendor: 0x1af4, device: 0x10f5, classCode: 0xff0000 };
      override readonly bars = {};
      override readonly interrupts = {};
    }
    const { control } = await controlled(new Immovable());
    for (const request of [
      fields(16, GET | 1),
      fields(16, GET | 2),
      fields(16, GET | 9),
      fields(16, PROBE | 2),
    ]) {
      expect(await control.request(16, request)).toMatchObject({ error: ENOTTY });
    }
    expect(await setState(control, STOP)).toBe(ENOTTY);
    expect((await readData(control, 16)).error).toBe(ENOTTY);
    expect(await writeData(control, Buffer.alloc(4))).toBe(ENOTTY);
    expect((await control.request(13)).error).toBe(0);
  });
});
