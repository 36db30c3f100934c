import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { field, memory, PciDevice, readOnly, u32 } from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { MigrationState, migrationMachine, sessionKind, stateName } from '../../src/states/index.ts';
import { fields, type RawClient } from '../helpers/raw-client.ts';
import { serveForTest } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';
import {
  dataOf,
  getState,
  loadState,
  readAll,
  readData,
  saveState,
  setState,
  writeAll,
  writeData,
} from './migration-driver.ts';
import { ScriptedMigration } from './scripted-migration.ts';

const { ERROR, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P } = MigrationState;
const { EINVAL, ENOTTY } = Errno;
const GET = 0x1_0000;
const SET = 0x2_0000;
const PROBE = 0x4_0000;
const FERRY = '{"capabilities":{"ferry":{"precopy_info":true}}}';
const native = loadNative();

const open: ReturnType<typeof serveForTest>[] = [];
afterEach(() => {
  for (const served of open.splice(0)) served.close();
});

function serve(device: PciDevice) {
  const served = serveForTest(device);
  open.push(served);
  return served;
}

async function controlled<D extends PciDevice>(device: D, json?: string) {
  const served = serve(device);
  return { device, served, control: await served.control(json) };
}

/** A device with little state, so that each of its bytes can be tried. */
class Tiny extends PciDevice {
  override readonly identity = { kind: 'tiny', vendor: 0x1af4, device: 0x10f4, classCode: 0xff0000 };
  readonly state = this.migratable({ value: u32({ initial: 3 }), ram: memory(8192) });
  override readonly bars = {
    0: this.registers(4096, { 0: field(this.state, 'value'), 4: readOnly(() => 7) }),
    2: this.memoryBar(this.state.ram, { mmap: true }),
  };
  override readonly interrupts = {};
}

async function saved(value = 0x1234): Promise<Buffer> {
  const { device, control } = await controlled(new Tiny());
  device.state.value = value;
  device.state.ram.bytes.fill(0x77, 100, 5000);
  return saveState(control);
}

function expectLoaded(device: Tiny, value = 0x1234): void {
  expect(device.state.value).toBe(value);
  expect(device.state.ram.bytes.subarray(99, 5001)).toEqual(new Uint8Array(4902).fill(0x77, 1, 4901));
}

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

describe('reading the state', () => {
  it.each([1, 7, 4096, 65_536, 1024 * 1024])(
    'in pieces of %i bytes is never short before the end, and then 0',
    async (size) => {
      const { device, control } = await controlled(new Tiny());
      device.state.ram.bytes.fill(0x77, 100, 5000);
      await setState(control, STOP_COPY);
      const lengths: number[] = [];
      while (lengths.at(-1) !== 0) {
        // Pipelined: a round trip for each byte would take its time.
        const ids = Array.from({ length: size < 1000 ? 200 : 1 }, () =>
          control.post(17, fields(8 + size, size)),
        );
        for (const id of ids) {
          const { payload } = await control.reply(id);
          const length = payload.length - 8;
          expect(payload.subarray(0, 8), 'argsz and size').toEqual(
            Uint8Array.from(fields(8 + length, length)),
          );
          lengths.push(length);
        }
      }
      const whole = lengths.filter((length) => length > 0);
      expect(whole.slice(0, -1).every((length) => length === size)).toBe(true);
      expect(
        lengths.slice(whole.length).every((length) => length === 0),
        'nothing after the end',
      ).toBe(true);
    },
  );

  it('in PRE_COPY ends for now, and goes on with what was written meanwhile', async () => {
    const source = await controlled(new Tiny());
    const { device, control } = source;
    const main = await source.served.main();
    device.state.ram.bytes.fill(0x77, 100, 5000);
    await setState(control, PRE_COPY);
    const first = await readAll(control);
    expect(dataOf(await readData(control, 4096))).toHaveLength(0);
    await main.request(10, fields(0n, 0, 4, 0x1234));
    await main.request(10, fields(7000n, 2, 4, 0xabcd));
    const second = await readAll(control);
    expect(second.length).toBeGreaterThanOrEqual(4096);
    expect(second.length, 'only the page that was written').toBeLessThan(4096 + 256);
    await setState(control, STOP_COPY);
    const last = await readAll(control);
    const destination = await controlled(new Tiny());
    await loadState(destination.control, Buffer.concat([first, second, last]));
    expect(await setState(destination.control, STOP)).toBe(0);
    expectLoaded(destination.device);
    expect(Buffer.from(destination.device.state.ram.bytes).readUInt32LE(7000)).toBe(0xabcd);
  });

  it('misses nothing that a client writes through a mapping while the device still runs', async () => {
    const { served, control } = await controlled(new Tiny());
    const main = await served.main();
    const { fds } = await main.request(5, fields(64, 0, 2, 0, 0n, 0n));
    const mapped = native.map(fds[0] ?? -1, 0, 8192, 3);
    if (typeof mapped === 'number') throw new Error(`mmap: ${mapped}`);
    for (const fd of fds) native.close(fd);
    await setState(control, PRE_COPY);
    const early = await readAll(control);
    new Uint8Array(mapped).fill(0x77, 100, 5000);
    await main.request(10, fields(0n, 0, 4, 0x1234));
    await setState(control, STOP_COPY);
    const state = Buffer.concat([early, await readAll(control)]);
    const destination = await controlled(new Tiny());
    await loadState(destination.control, state);
    expect(await setState(destination.control, STOP)).toBe(0);
    expectLoaded(destination.device);
    native.unmap(mapped);
  });

  it('of no bytes is answered with no bytes', async () => {
    const { control } = await controlled(new Tiny());
    await setState(control, STOP_COPY);
    expect(dataOf(await readData(control, 0))).toHaveLength(0);
    expect(dataOf(await readData(control, 16))).toHaveLength(16);
  });

  it('that is posted takes nothing away', async () => {
    const { control } = await controlled(new Tiny());
    await setState(control, STOP_COPY);
    control.post(17, fields(8 + 64, 64), 0x10);
    const destination = await controlled(new Tiny());
    await loadState(destination.control, await readAll(control));
    expect(await setState(destination.control, STOP)).toBe(0);
  });
});

describe('writing the state', () => {
  it('in pieces of any size comes to the same', async () => {
    const state = await saved();
    const { device, control } = await controlled(new Tiny());
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 20 }),
        async (sizes) => {
          await bringTo(control, RESUMING);
          for (let at = 0, i = 0; at < state.length; i += 1) {
            const size = sizes[i % sizes.length] ?? 1;
            expect(await writeData(control, state.subarray(at, at + size))).toBe(0);
            at += size;
          }
          expect(await setState(control, STOP)).toBe(0);
          expectLoaded(device);
          device.state.value = 0;
        },
      ),
      { numRuns: 12 },
    );
  });

  it('a byte at a time works', async () => {
    const state = await saved();
    const { device, control } = await controlled(new Tiny());
    await setState(control, RESUMING);
    expect(await writeAll(control, state, 1)).toBe(0);
    expect(await setState(control, STOP)).toBe(0);
    expectLoaded(device);
  });

  it('that stops early is EINVAL for whatever leaves RESUMING, and can go on', async () => {
    const state = await saved();
    const { device, control } = await controlled(new Tiny());
    await setState(control, RESUMING);
    let written = 0;
    for (const end of [0, 1, 100, state.length >> 1, state.length - 1]) {
      expect(await writeAll(control, state.subarray(written, end))).toBe(0);
      written = end;
      for (const target of [STOP, RUNNING, RUNNING_P2P, STOP_COPY, PRE_COPY]) {
        expect(await setState(control, target), `after ${end} bytes`).toBe(EINVAL);
        expect(await getState(control)).toBe(RESUMING);
      }
      expect(device.state.value, 'nothing is applied before the end').toBe(3);
    }
    expect(await writeData(control, state.subarray(written))).toBe(0);
    expect(await setState(control, STOP)).toBe(0);
    expectLoaded(device);
  });

  it('with one byte wrong is refused while it is written, wherever the byte is; only a reset leads out', async () => {
    const state = await saved();
    const { device, control } = await controlled(new Tiny());
    const step = Math.max(1, Math.floor(state.length / 150));
    for (let at = 0; at < state.length; at += step) {
      await bringTo(control, RESUMING);
      const wrong = Buffer.from(state);
      wrong[at] = (wrong[at] ?? 0) ^ 0x10;
      const errno = await writeAll(control, wrong, 1000);
      expect(errno, `byte ${at} of ${state.length}`).not.toBe(0);
      expect(await setState(control, STOP)).not.toBe(0);
      expect(await getState(control)).toBe(RESUMING);
      expect(await writeAll(control, state)).not.toBe(0);
    }
    expect((await control.request(13)).error).toBe(0);
    expect([await getState(control), device.state.value]).toEqual([RUNNING, 3]);
  });

  it('with bytes after the end is refused', async () => {
    const state = await saved();
    const { control } = await controlled(new Tiny());
    await setState(control, RESUMING);
    expect(await writeAll(control, state)).toBe(0);
    expect(await writeData(control, Buffer.of(0))).not.toBe(0);
  });

  it('of another kind of device is refused, and inspection says why', async () => {
    const state = await saved();
    const { served, control } = await controlled(new TestDevice());
    await setState(control, RESUMING);
    expect(await writeAll(control, state)).not.toBe(0);
    expect(served.server.migration.lastError?.message).toContain('tiny');
  });
});

describe('estimates', () => {
  const sizeOf = async (control: RawClient): Promise<number> => {
    const reply = await control.request(16, fields(16, GET | 9));
    expect(reply.error).toBe(0);
    return Number(Buffer.from(reply.payload).readBigUInt64LE(8));
  };

  it('MIG_DATA_SIZE is an upper bound of what is left, in every state', async () => {
    const { device, control } = await controlled(new Tiny());
    device.state.ram.bytes.fill(0x77);
    const whole = await saved().then(({ length }) => length);
    for (const state of [RUNNING, RUNNING_P2P, STOP, PRE_COPY, PRE_COPY_P2P]) {
      await setState(control, state);
      expect(await sizeOf(control), stateName(state)).toBeGreaterThanOrEqual(whole);
    }
    await setState(control, STOP_COPY);
    for (let left = await sizeOf(control); ; left = await sizeOf(control)) {
      const taken = dataOf(await readData(control, 1000)).length;
      if (taken === 0) break;
      expect(await sizeOf(control)).toBeLessThanOrEqual(left - taken + 1000);
      expect(left).toBeGreaterThanOrEqual(taken);
    }
  });

  it('of PRE_COPY go down as the state is read, and up again when the device writes', async () => {
    const { served, control } = await controlled(new Tiny(), FERRY);
    const main = await served.main();
    const info = async (): Promise<number> => {
      const reply = await control.request(0xfe01, fields(24, 0));
      expect(reply).toMatchObject({ error: 0 });
      const payload = Buffer.from(reply.payload);
      expect(payload).toHaveLength(24);
      return Number(payload.readBigUInt64LE(8) + payload.readBigUInt64LE(16));
    };
    await setState(control, PRE_COPY);
    let left = await info();
    expect(left).toBeGreaterThan(0);
    for (let length = 1; length > 0; ) {
      length = dataOf(await readData(control, 500)).length;
      const now = await info();
      if (length > 0) expect(now).toBeLessThan(left);
      left = now;
    }
    expect(left).toBe(0);
    await main.request(10, fields(0n, 2, 4, 1));
    expect(await info()).toBeGreaterThanOrEqual(4096);
    await setState(control, STOP_COPY);
    expect(await control.request(0xfe01, fields(24, 0))).toMatchObject({ error: EINVAL });
  });

  it('are no command for who has not agreed on them', async () => {
    const served = serve(new Tiny());
    for (const client of [
      await served.control(),
      await served.main(),
      await served.control('{"capabilities":{"ferry":{}}}'),
    ]) {
      expect(await client.request(0xfe01, fields(24, 0))).toMatchObject({ error: EINVAL });
      expect(await client.request(0xfe02, fields(4096, 0))).toMatchObject({ error: EINVAL });
    }
  });

  it('and inspection are there for each who has', async () => {
    const served = serve(new Tiny());
    const json = '{"capabilities":{"ferry":{"inspect":true}}}';
    for (const client of [await served.control(json), await served.main(json)]) {
      const short = await client.request(0xfe02, fields(8, 0));
      const needed = Buffer.from(short.payload).readUInt32LE(0);
      expect(short.payload).toHaveLength(8);
      const reply = await client.request(0xfe02, fields(needed, 0));
      const report = JSON.parse(Buffer.from(reply.payload.subarray(8)).toString());
      expect(report).toMatchObject({
        identity: { kind: 'tiny' },
        migration: { flags: 7, state: 'RUNNING', sessionOwner: null, inTransition: false, lastError: null },
        hold: { active: false },
        main: { dmaMaps: 0 },
      });
    }
  });
});
