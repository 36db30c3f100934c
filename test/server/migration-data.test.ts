import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields, type RawClient } from '../helpers/raw-client.ts';
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
import { testServers } from './test-servers.ts';
import { expectLoaded, fillTiny, Tiny } from './tiny-device.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY } = MigrationState;
const { EINVAL } = Errno;
const native = loadNative();
const { controlled } = testServers();

async function saved(): Promise<Buffer> {
  const { device, control } = await controlled(new Tiny());
  fillTiny(device);
  return saveState(control);
}

/** Brings a device to a state from wherever it is. */
async function bringTo(control: RawClient, state: number): Promise<void> {
  expect((await control.request(13)).error).toBe(0);
  expect(await setState(control, state)).toBe(0);
  expect(await getState(control)).toBe(state);
}

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

  it('that a device lends comes as it is, and is not lent for a read that is posted', async () => {
    const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => i * 7);
    let at = 0;
    class Lending extends ScriptedMigration {
      view(limit: number): Uint8Array {
        at += limit;
        return bytes.subarray(at - limit, at);
      }
    }
    class Lender extends Tiny {
      override createMigration(): Lending {
        return new Lending(7);
      }
    }
    const { control } = await controlled(new Lender());
    await setState(control, STOP_COPY);
    control.post(17, fields(8 + 1000, 1000), 0x10);
    expect(Buffer.compare(await readAll(control), bytes)).toBe(0);
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
