import { ftruncateSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { PciDevice } from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { loadNative, type Native } from '../../src/native/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { makeBlocking } from '../helpers/blocking.ts';
import { openFds } from '../helpers/open-fds.ts';
import { fields, type RawClient, type RawMessage } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { until } from '../helpers/until.ts';
import { BellDevice, subRegions } from './bell-device.ts';
import { loadState, saveState, setState } from './migration-driver.ts';
import { testServers } from './test-servers.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P } = MigrationState;
const { EINVAL } = Errno;
const IO_FDS = 6;
const ENOUGH = 16 + 6 * 48;
const NO_FD = 0xffff_ffff;
const native = loadNative();
const { world } = testServers();

/** What the current test was given. */
const given: number[] = [];
afterEach(closeGiven);

function closeGiven(): void {
  for (const fd of given.splice(0)) native.close(fd);
}

async function ask(client: RawClient, region: number, argsz = ENOUGH): Promise<RawMessage> {
  const reply = await client.request(IO_FDS, fields(argsz, 0, region, 0));
  given.push(...reply.fds);
  return reply;
}

const ring = (fd: number | undefined): number => native.eventfdSignal(fd ?? -1, 1);

/** A VMM with the doorbells of BAR0: their fds by their place in the declaration, and the shadow memory. */
async function bells() {
  const all = await world(new BellDevice());
  const reply = await ask(all.main, 0);
  const entries = subRegions(reply.payload);
  const fdOf = (i: number): number => reply.fds[entries[i]?.fd ?? -1] ?? -1;
  const shadowFd = reply.fds[entries[2]?.shadowFd ?? -1] ?? -1;
  return {
    ...all,
    fdOf,
    shadowFd,
    leave: (i: number, bytes: Uint8Array) =>
      native.pwrite(shadowFd, bytes, 0, bytes.length, Number(entries[i]?.shadowOffset ?? -1)),
  };
}

describe('DEVICE_GET_REGION_IO_FDS', () => {
  it('names each doorbell, its eventfd, and where its value is left', async () => {
    const { main } = await world(new BellDevice());
    const { payload, fds, error, flags } = await ask(main, 0);
    expect([error, flags]).toEqual([0, 1]);
    expect(Buffer.from(payload.subarray(0, 16))).toEqual(fields(ENOUGH, 0, 0, 6));
    const entries = subRegions(payload);
    const plain = { type: 0, shadowFd: NO_FD, shadowOffset: 0n };
    const shadowFd = entries[2]?.shadowFd;
    expect(entries.map(({ fd, ...entry }) => entry)).toEqual([
      { offset: 0n, size: 4n, flags: 1, datamatch: 7n, ...plain },
      { offset: 0n, size: 4n, flags: 1, datamatch: 0xffff_fff0n, ...plain },
      { offset: 4n, size: 4n, flags: 0, datamatch: 0n, type: 2, shadowFd, shadowOffset: 0n },
      { offset: 8n, size: 8n, flags: 0, datamatch: 0n, type: 2, shadowFd, shadowOffset: 8n },
      { offset: 0x10n, size: 2n, flags: 0, datamatch: 0n, ...plain },
      { offset: 0x14n, size: 4n, flags: 0, datamatch: 0n, ...plain },
    ]);
    expect(new Set([shadowFd, ...entries.map(({ fd }) => fd)])).toEqual(new Set(fds.keys()));
    const links = new Map(openFds().map((line) => [Number(line.split(' ')[0]), line]));
    expect(links.get(fds[shadowFd ?? -1] ?? -1)).toContain('memfd:ferry-doorbells');
    for (const { fd } of entries) expect(links.get(fds[fd] ?? -1)).toContain('anon_inode:[eventfd]');
  });

  it('says which are in the I/O space', async () => {
    const { main } = await world(new BellDevice());
    const { payload, fds } = await ask(main, 1);
    expect(subRegions(payload)).toMatchObject([
      { offset: 0n, size: 1n, fd: 0, type: 0, flags: 3, datamatch: 9n },
    ]);
    expect(fds).toHaveLength(1);
  });

  it('brings none of a region that has none', async () => {
    const { main } = await world(new BellDevice());
    const { payload, fds } = await ask(main, 2, 16);
    expect([Buffer.from(payload), fds]).toEqual([fields(16, 0, 2, 0), []]);
  });

  it('says how much it takes when argsz is too small, and brings nothing', async () => {
    const { main } = await world(new BellDevice());
    for (const argsz of [16, 64, ENOUGH - 1]) {
      const { payload, fds, error } = await ask(main, 0, argsz);
      expect([error, Buffer.from(payload), fds]).toEqual([0, fields(ENOUGH, 0, 0, 6), []]);
    }
  });

  it('brings the same ones again', async () => {
    const { main, server } = await world(new BellDevice());
    await ask(main, 0);
    const before = server.doorbells.count;
    expect((await ask(main, 0)).fds).toHaveLength(7);
    expect(server.doorbells.count).toBe(before);
  });

  it.each([
    ['argsz below 16', [15, 0, 0, 0]],
    ['argsz beyond max_data_xfer_size', [(1 << 20) + 1, 0, 0, 0]],
    ['flags', [ENOUGH, 1, 0, 0]],
    ['a count', [ENOUGH, 0, 0, 1]],
    ['a region that the device lacks', [ENOUGH, 0, 3, 0]],
    ['a region that no device has', [ENOUGH, 0, 9, 0]],
  ])('refuses %s', async (_, values) => {
    const { main, server } = await world(new BellDevice());
    const reply = await main.request(IO_FDS, fields(...values));
    expect([reply.error, reply.payload.length, reply.fds]).toEqual([EINVAL, 0, []]);
    expect(server.doorbells.count).toBe(0);
  });

  it.each([
    [0, 0, 0],
    [1, 1, 1],
    [2, 2, 2],
    [3, 2, 2],
    [4, 3, 4],
    [6, 5, 6],
    [7, 6, 7],
    [16, 6, 7],
  ])('names as many as fit into messages with %i fds', async (limit, count, fdCount) => {
    const { served } = await world(new BellDevice());
    const client = await replace(served, `{"capabilities":{"max_msg_fds":${limit}}}`);
    const { payload, fds } = await ask(client, 0);
    expect([subRegions(payload).length, fds.length]).toEqual([count, fdCount]);
    expect(Buffer.from(payload).readUInt32LE(12)).toBe(count);
  });

  it('fails without a leak when there are no fds left', async () => {
    let left = 3;
    const poor: Native = {
      ...native,
      eventfd: (initial) => (left-- > 0 ? native.eventfd(initial) : -Errno.EMFILE),
    };
    const { main, server } = await world(new BellDevice(), { native: poor });
    const before = openFds().length;
    expect(await ask(main, 0)).toMatchObject({ error: Errno.EMFILE, fds: [] });
    expect(openFds()).toHaveLength(before);
    left = 6;
    expect((await ask(main, 0)).fds).toHaveLength(7);
    expect(server.doorbells.count).toBe(6);
  });
});

/** Another VMM, when the first has gone. */
async function replace(
  served: Awaited<ReturnType<typeof world>>['served'],
  json: string,
): Promise<RawClient> {
  served.server.main?.connection.close();
  await until(() => served.server.main === null);
  return served.main(json);
}

describe('a ring', () => {
  it('is a write of the value that it stands for', async () => {
    const { device, fdOf } = await bells();
    for (const [i, written] of [
      [0, [0, 7]],
      [1, [0, 0xffff_fff0]],
      [4, [0x10, 0]],
    ] as const) {
      ring(fdOf(i));
      await until(() => device.written.length > 0);
      expect(device.written.splice(0)).toEqual([written]);
    }
  });

  it('is a write of the value that the client has left in shared memory', async () => {
    const { device, fdOf, leave } = await bells();
    leave(2, fields(0x8765_4321));
    leave(3, fields(0x1122_3344_5566_7788n));
    ring(fdOf(2));
    await until(() => device.written.length === 1);
    ring(fdOf(3));
    await until(() => device.written.length === 2);
    leave(2, fields(5));
    ring(fdOf(2));
    await until(() => device.written.length === 3);
    expect(device.written).toEqual([
      [4, 0x8765_4321],
      [8, 0x1122_3344_5566_7788n],
      [4, 5],
    ]);
  });

  it('that comes again before the first was heard is the same ring', async () => {
    const { device, fdOf, leave } = await bells();
    for (const value of [1, 2, 3]) {
      leave(2, fields(value));
      ring(fdOf(2));
    }
    await until(() => device.written.length > 0);
    await settle(10);
    expect(device.written).toEqual([[4, 3]]);
  });

  it('leaves other values to messages', async () => {
    const { device, main } = await bells();
    expect(await main.request(10, fields(0n, 0, 4, 8))).toMatchObject({ error: 0 });
    expect(device.written).toEqual([[0, 8]]);
  });

  it('whose write fails is reported to whoever runs the server, and the next is heard', async () => {
    const { device, fdOf, served } = await bells();
    ring(fdOf(5));
    await until(() => served.reported.length > 0);
    expect(served.reported).toMatchObject([
      { errno: Errno.EIO, message: expect.stringContaining('has broken') },
    ]);
    ring(fdOf(0));
    await until(() => device.written.length > 0);
  });

  it('on an eventfd that its client has made blocking, and reads as well, does not stop the server', async () => {
    const { device, fdOf, main } = await bells();
    makeBlocking(fdOf(0));
    ring(fdOf(0));
    native.eventfdRead(fdOf(0));
    await settle(10);
    expect(await main.request(4, fields(16, 0, 0, 0))).toMatchObject({ error: 0 });
    expect(device.written).toEqual([]);
    ring(fdOf(0));
    await until(() => device.written.length > 0);
  });

  it('finds its memory whatever the client does to the file', async () => {
    const { device, fdOf, shadowFd, main } = await bells();
    expect(native.sealShrink(shadowFd)).toBe(0);
    expect(() => ftruncateSync(shadowFd, 0)).toThrow();
    ring(fdOf(2));
    await until(() => device.written.length > 0);
    expect(await main.request(4, fields(16, 0, 0, 0))).toMatchObject({ error: 0 });
  });
});

describe('rings and the device', () => {
  it('stay counted while the device is held, and are carried out when the hold ends', async () => {
    const { device, fdOf, leave, control } = await bells();
    await setState(control, STOP);
    leave(2, fields(1));
    ring(fdOf(2));
    ring(fdOf(0));
    await settle(20);
    expect(device.written).toEqual([]);
    leave(2, fields(2));
    await setState(control, STOP_COPY);
    await setState(control, STOP);
    await setState(control, RUNNING_P2P);
    await settle(20);
    expect(device.written, 'the hold has not ended').toEqual([]);
    await setState(control, RUNNING);
    await until(() => device.written.length === 2);
    expect(device.written.toSorted()).toEqual([
      [0, 7],
      [4, 2],
    ]);
  });

  it('that came before a stop are part of the state that is saved', async () => {
    const { device, fdOf, control, server } = await bells();
    const by = server.main;
    if (by === null) throw new Error('there is no VMM');
    ring(fdOf(0));
    // The event loop has no chance to look.
    server.setState(RUNNING_P2P, by);
    expect(device.written).toEqual([]);
    server.setState(STOP, by);
    expect(device.written).toEqual([[0, 7]]);
    server.setState(RUNNING, by);
    const destination = await world(new BellDevice());
    await loadState(destination.control, await saveState(control));
    await setState(destination.control, RUNNING);
    expect(destination.device.state.sum).toBe(7);
    expect((await ask(destination.main, 0)).fds, 'the destination hands out its own').toHaveLength(7);
  });

  it('survive a round trip of the state through the same device', async () => {
    const { device, fdOf, control } = await bells();
    await setState(control, STOP);
    ring(fdOf(0));
    const state = await saveState(control);
    expect(await control.request(13)).toMatchObject({ error: 0 });
    await loadState(control, state);
    expect(device.written).toEqual([]);
    await setState(control, RUNNING);
    await until(() => device.written.length > 0);
    expect(device.written).toEqual([[0, 7]]);
  });

  it('stay counted while a client keeps its own device stopped', async () => {
    const { device, fdOf, main } = await bells();
    for (const state of [STOP, RESUMING]) {
      expect(await setState(main, state)).toBe(0);
      ring(fdOf(0));
      await settle(10);
      expect(device.written).toEqual([]);
    }
    expect(await main.request(13)).toMatchObject({ error: 0 });
    await settle(10);
    expect(device.written, 'what was rung before a reset is void').toEqual([]);
    ring(fdOf(0));
    await until(() => device.written.length > 0);
  });

  it('come to an end with their client, but not what it has rung', async () => {
    const { device, fdOf, main, server, control } = await bells();
    const kept = native.dup(fdOf(0));
    await setState(control, STOP);
    ring(kept);
    main.close();
    await until(() => server.main === null);
    expect([device.written, server.doorbells.count]).toEqual([[], 0]);
    await setState(control, RUNNING);
    expect(device.written).toEqual([[0, 7]]);
    ring(kept);
    await settle(20);
    expect(device.written, 'nobody listens to it any more').toHaveLength(1);
    native.close(kept);
  });

  it('leave nothing open when their client goes', async () => {
    const all = await world(new BellDevice());
    const { main, server } = all;
    const before = openFds().length;
    await ask(main, 0);
    await ask(main, 1);
    closeGiven();
    main.close();
    await until(() => server.main === null);
    // Both ends of the connection are gone as well.
    expect(openFds()).toHaveLength(before - 2);
  });

  it('wait for the end of a reset that takes its time', async () => {
    let finish = (): void => {};
    class Slow extends BellDevice {
      override readonly asynchronous = true;
      protected override work(): Promise<void> | undefined {
        if (this.state.sum === 0) return undefined;
        return new Promise((resolve) => {
          finish = resolve;
        });
      }
    }
    const { main, device, control } = await world(new Slow());
    const { fds, payload } = await ask(main, 0);
    device.state.sum = 1;
    await setState(control, RUNNING_P2P);
    await setState(control, RUNNING);
    const reset = main.post(13);
    await settle(10);
    ring(fds[subRegions(payload)[0]?.fd ?? -1]);
    await settle(10);
    expect(device.written).toEqual([]);
    finish();
    expect(await main.reply(reset)).toMatchObject({ error: 0 });
    await until(() => device.written.length > 0);
  });
});

describe('declared doorbells', () => {
  const declare = (doorbells: object[]) => () => {
    class Wrong extends PciDevice {
      override readonly identity = { kind: 'wrong', vendor: 1, device: 2, classCode: 0 };
      override readonly interrupts = {};
      override readonly bars = { 0: this.registers(64, {}, { doorbells: doorbells as never }) };
    }
    return world(new Wrong());
  };

  it.each([
    ['beyond the BAR', [{ offset: 64, size: 4 }]],
    ['across its end', [{ offset: 60, size: 8 }]],
    ['of no size that a write has', [{ offset: 0, size: 3 }]],
    ['off their alignment', [{ offset: 2, size: 4 }]],
    [
      'over each other',
      [
        { offset: 0, size: 4 },
        { offset: 0, size: 8, datamatch: 1 },
      ],
    ],
    [
      'twice for one value',
      [
        { offset: 0, size: 4, datamatch: 1 },
        { offset: 0, size: 4, datamatch: 1n },
      ],
    ],
    ['with a value that does not fit', [{ offset: 0, size: 1, datamatch: 256 }]],
    ['with a negative value', [{ offset: 0, size: 1, datamatch: -1 }]],
    ['with two values', [{ offset: 0, size: 4, datamatch: 1, shadow: true }]],
  ])('are refused %s', async (_, doorbells) => {
    await expect(async () => declare(doorbells)()).rejects.toMatchObject({ code: 'ERR_DEVICE_DECLARATION' });
  });
});
