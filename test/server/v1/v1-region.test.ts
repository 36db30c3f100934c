import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Errno } from '../../../src/errors/index.ts';
import { loadNative } from '../../../src/native/index.ts';
import type { V1Options } from '../../../src/server/index.ts';
import { fields, QEMU_VERSION_JSON, type RawClient } from '../../helpers/raw-client.ts';
import { TestDevice } from '../../helpers/test-device.ts';
import { testServers } from '../test-servers.ts';
import * as v1 from './v1-driver.ts';

const { EINVAL, EBUSY, ENOTTY, ENODEV, EPERM } = Errno;
const native = loadNative();
const { world } = testServers();
/** Small, so that a state takes several pieces. */
const SECTION = 16 * 1024;
const PAGE = 4096;

const served = (options: V1Options = {}, device = new TestDevice()) =>
  world(device, { v1: { dataSize: SECTION, ...options } });

/** A device with content in its memory and a register. */
async function withContent() {
  const made = await served();
  made.device.state.scratch = 0xfee1dead;
  for (let at = 0; at < made.device.state.ram.size; at += 8) {
    made.device.state.ram.write(at, fields(at, at ^ 0xa5a5));
  }
  return made;
}

function contentOf(device: TestDevice) {
  return {
    scratch: device.state.scratch,
    ram: createHash('sha256').update(device.state.ram.bytes).digest('hex'),
  };
}

describe('the migration region', () => {
  it('is the tenth, readable and writable, of type 3, subtype 1, with a data section to map', async () => {
    const { main } = await served();
    expect(Buffer.from((await main.request(4, fields(16, 0, 0, 0))).payload).readUInt32LE(8)).toBe(10);
    const reply = await main.request(5, fields(1024, 0, v1.REGION, 0, 0n, 0n));
    expect(reply.error).toBe(0);
    expect(reply.fds).toHaveLength(1);
    for (const fd of reply.fds) native.close(fd);
    expect(Buffer.from(reply.payload)).toEqual(
      fields(
        ...[80, 1 | 2 | 4 | 8, 9, 32, BigInt(PAGE + SECTION), 0n],
        ...[0x1_0002, 48, 3, 1],
        ...[0x1_0001, 0, 1, 0, BigInt(PAGE), BigInt(SECTION)],
      ),
    );
  });

  it('says how much room its capabilities take, and gives no fd with that', async () => {
    const { main } = await served();
    const reply = await main.request(5, fields(32, 0, v1.REGION, 0, 0n, 0n));
    expect([reply.error, reply.fds]).toEqual([0, []]);
    expect(Buffer.from(reply.payload)).toEqual(fields(80, 1 | 2 | 4, 9, 0, BigInt(PAGE + SECTION), 0n));
  });

  it('can be mapped by the control side too, whose it is; a client that takes no fds only reads it', async () => {
    const { control, served: running } = await served();
    const reply = await control.request(5, fields(1024, 0, v1.REGION, 0, 0n, 0n));
    expect(reply.fds).toHaveLength(1);
    for (const fd of reply.fds) native.close(fd);
    const poor = await running.control(QEMU_VERSION_JSON.replace('"max_msg_fds": 16', '"max_msg_fds": 0'));
    const bare = await poor.request(5, fields(1024, 0, v1.REGION, 0, 0n, 0n));
    expect(bare.fds).toEqual([]);
    expect(Buffer.from(bare.payload)).toEqual(
      fields(...[48, 1 | 2 | 8, 9, 32, BigInt(PAGE + SECTION), 0n], ...[0x1_0002, 0, 3, 1]),
    );
  });

  it('is not there without v1', async () => {
    const { main, control } = await world(new TestDevice());
    expect(Buffer.from((await main.request(4, fields(16, 0, 0, 0))).payload).readUInt32LE(8)).toBe(9);
    expect((await main.request(5, fields(1024, 0, 9, 0, 0n, 0n))).error).toBe(EINVAL);
    expect((await v1.read(main, 0, 4)).error).toBe(EINVAL);
    expect(await v1.setState(main, 0)).toBe(EINVAL);
    expect(await v1.setState(control, 0)).toBe(EPERM);
  });

  it('takes the place of v2, of which nothing is left', async () => {
    const { control } = await served();
    expect((await control.request(16, fields(16, 0x1_0001))).error).toBe(ENOTTY);
    expect((await control.request(16, fields(16, 0x1_0002))).error).toBe(ENOTTY);
    expect((await control.request(16, fields(16, 0x2_0002, 3, 0xffff_ffff))).error).toBe(ENOTTY);
    expect((await control.request(17, fields(16, 8))).error).toBe(ENOTTY);
    expect((await control.request(18, fields(16, 8, 0n))).error).toBe(ENOTTY);
    expect((await control.request(16, fields(8, 0x4_0001))).error).toBe(ENOTTY);
  });
});

describe('the registers', () => {
  it('show a device that runs, with nothing to save', async () => {
    const { main } = await served();
    expect(await v1.getState(main)).toBe(0b001);
    expect(await v1.readBytes(main, v1.RESERVED, 4)).toEqual(fields(0));
    expect(await v1.readWide(main, v1.PENDING_BYTES)).toBe(0);
    expect(await v1.readWide(main, v1.DATA_OFFSET)).toBe(PAGE);
    expect(await v1.readWide(main, v1.DATA_SIZE)).toBe(0);
  });

  it('are accessed at their own width and place only: EINVAL', async () => {
    const { main } = await served();
    const own = new Map([
      [v1.DEVICE_STATE, 4],
      [v1.RESERVED, 4],
      [v1.PENDING_BYTES, 8],
      [v1.DATA_OFFSET, 8],
      [v1.DATA_SIZE, 8],
    ]);
    for (let offset = 0; offset < 40; offset += 1) {
      for (const count of [0, 1, 2, 3, 4, 5, 8, 16, 32]) {
        const expected = own.get(offset) === count ? 0 : EINVAL;
        expect((await v1.read(main, offset, count)).error, `${count} bytes at ${offset}`).toBe(expected);
        if (expected === 0) continue;
        expect(await v1.write(main, offset, Buffer.alloc(count, 1)), `${count} at ${offset}`).toBe(EINVAL);
      }
    }
    expect(await v1.getState(main)).toBe(0b001);
  });

  it('are read-only but for device_state and data_size; the reserved one takes anything and stays 0', async () => {
    const { main } = await served();
    expect(await v1.write(main, v1.PENDING_BYTES, fields(1n))).toBe(EINVAL);
    expect(await v1.write(main, v1.DATA_OFFSET, fields(1n))).toBe(EINVAL);
    expect(await v1.write(main, v1.RESERVED, fields(0xffff_ffff))).toBe(0);
    expect(await v1.readBytes(main, v1.RESERVED, 4)).toEqual(fields(0));
  });

  it('and the data section end where the region ends, and what lies between them is nothing', async () => {
    const { main } = await served();
    for (const [offset, count] of [
      [32, 8],
      [PAGE - 1, 2],
      [PAGE + SECTION, 1],
      [PAGE + SECTION - 1, 2],
      [2 ** 52, 8],
    ] as const) {
      expect((await v1.read(main, offset, count)).error, `${offset}`).toBe(EINVAL);
      expect(await v1.write(main, offset, Buffer.alloc(count)), `${offset}`).toBe(EINVAL);
    }
  });

  it('ignore reserved bits that are written and read as 0 there; VALID of the header decides on the rest', async () => {
    const { main } = await served();
    for (const [value, errno, state] of [
      [0xf000, 0, 0b000],
      [0xf004, 0, 0b100],
      [0x8000_0001, 0, 0b001],
      [0b101, EINVAL, 0b001],
      [0b110, EINVAL, 0b001],
      [0b111, EINVAL, 0b001],
      [0xf006, EINVAL, 0b001],
      [0xfff8 | 0b011, 0, 0b011],
    ] as const) {
      expect([await v1.setState(main, value), await v1.getState(main)], value.toString(2)).toEqual([
        errno,
        state,
      ]);
      if (state === 0b100) expect((await main.request(13)).error).toBe(0);
    }
  });
});

describe.each(['main', 'control'] as const)('a whole move over the %s socket, byte by byte', (role) => {
  it('by the saving and the resuming sequence keeps every byte', async () => {
    const from = await withContent();
    const to = await served();
    const source = from[role];
    const destination = to[role];
    expect(await v1.setState(source, 0b011)).toBe(0);
    expect(await v1.setState(destination, 0b100)).toBe(0);
    const early = await v1.save(source);
    expect(early.length).toBeGreaterThan(2);
    from.device.state.ram.write(4096, fields(1, 2, 3));
    const second = await v1.save(source);
    expect(second.length).toBe(1);
    from.device.state.scratch = 0x12345678;
    expect(await v1.setState(source, 0b010)).toBe(0);
    const late = await v1.save(source);
    expect(late.length).toBeGreaterThan(0);
    expect(await v1.setState(source, 0b000)).toBe(0);
    expect(await v1.load(destination, [...early, ...second, ...late])).toBe(0);
    expect(await v1.setState(destination, 0b001)).toBe(0);
    expect(await v1.getState(destination)).toBe(0b001);
    expect(contentOf(to.device)).toEqual(contentOf(from.device));
    expect(to.device.state.scratch).toBe(0x12345678);
    expect(await v1.getState(source)).toBe(0b000);
  });

  it('by way of 000 at both ends, without pre-copy', async () => {
    const from = await withContent();
    const to = await served();
    expect(await v1.setState(from[role], 0b000)).toBe(0);
    expect(await v1.setState(from[role], 0b010)).toBe(0);
    const pieces = await v1.save(from[role]);
    expect(await v1.setState(to[role], 0b000)).toBe(0);
    expect(await v1.setState(to[role], 0b100)).toBe(0);
    expect(await v1.load(to[role], pieces)).toBe(0);
    expect(await v1.setState(to[role], 0b000)).toBe(0);
    expect(contentOf(to.device)).toEqual(contentOf(from.device));
    expect(await v1.setState(to[role], 0b001)).toBe(0);
  });
});

describe('the saving sequence', () => {
  const inPreCopy = async () => {
    const made = await withContent();
    expect(await v1.setState(made.main, 0b011)).toBe(0);
    return made;
  };

  it('may repeat any read: only the read of pending_bytes after a transaction acknowledges it', async () => {
    const { main } = await inPreCopy();
    const pending = await v1.readWide(main, v1.PENDING_BYTES);
    expect(await v1.readWide(main, v1.PENDING_BYTES)).toBe(pending);
    const piece = await v1.takePiece(main);
    expect(piece).toHaveLength(SECTION);
    expect(await v1.takePiece(main)).toEqual(piece);
    expect(await v1.readWide(main, v1.PENDING_BYTES)).toBeLessThan(pending);
    expect(await v1.takePiece(main)).not.toEqual(piece);
  });

  it('does not take a piece for read whose place or size was not', async () => {
    const { main } = await inPreCopy();
    const pending = await v1.readWide(main, v1.PENDING_BYTES);
    await v1.readWide(main, v1.DATA_OFFSET);
    expect(await v1.readWide(main, v1.PENDING_BYTES)).toBe(pending);
    await v1.readWide(main, v1.DATA_SIZE);
    expect(await v1.readWide(main, v1.PENDING_BYTES)).toBeLessThan(pending);
    await v1.readWide(main, v1.DATA_SIZE);
    const second = await v1.takePiece(main);
    expect(await v1.takePiece(main)).toEqual(second);
  });

  it('works without the first read of pending_bytes: data_offset has the piece made available', async () => {
    const { main } = await inPreCopy();
    expect(await v1.takePiece(main)).toHaveLength(SECTION);
  });

  it('keeps a piece that was not acknowledged when pre-copy becomes stop-and-copy, as QEMU needs it', async () => {
    const { main } = await inPreCopy();
    await v1.readWide(main, v1.PENDING_BYTES);
    const piece = await v1.takePiece(main);
    expect(await v1.setState(main, 0b010)).toBe(0);
    expect(await v1.takePiece(main)).toEqual(piece);
    await v1.readWide(main, v1.PENDING_BYTES);
    expect(await v1.takePiece(main)).not.toEqual(piece);
  });

  it('tells in stop-and-copy how much is left, down to 0, once and for all', async () => {
    const { main } = await withContent();
    expect(await v1.setState(main, 0b010)).toBe(0);
    const told: number[] = [];
    for (;;) {
      const pending = await v1.readWide(main, v1.PENDING_BYTES);
      told.push(pending);
      if (pending === 0) break;
      expect((await v1.takePiece(main)).length).toBeLessThanOrEqual(pending);
    }
    expect(told).toEqual(told.toSorted((a, b) => b - a));
    expect(await v1.readWide(main, v1.PENDING_BYTES)).toBe(0);
    expect(await v1.readWide(main, v1.DATA_SIZE)).toBe(0);
  });

  it('can be left early: the device runs on, and what is saved next is whole again', async () => {
    const from = await inPreCopy();
    await v1.readWide(from.main, v1.PENDING_BYTES);
    await v1.takePiece(from.main);
    expect(await v1.setState(from.main, 0b001)).toBe(0);
    expect(await v1.readWide(from.main, v1.PENDING_BYTES)).toBe(0);
    expect(await v1.setState(from.main, 0b010)).toBe(0);
    const pieces = await v1.save(from.main);
    const to = await served();
    expect(await v1.setState(to.main, 0b100)).toBe(0);
    expect(await v1.load(to.main, pieces)).toBe(0);
    expect(await v1.setState(to.main, 0b001)).toBe(0);
    expect(contentOf(to.device)).toEqual(contentOf(from.device));
  });

  it('lets the piece be read by halves and by words, and nothing behind it', async () => {
    const { main } = await inPreCopy();
    await v1.readWide(main, v1.PENDING_BYTES);
    const piece = await v1.takePiece(main);
    expect(await v1.readBytes(main, PAGE + 8, 8)).toEqual(piece.subarray(8, 16));
    expect(await v1.readBytes(main, PAGE + 3, 1000)).toEqual(piece.subarray(3, 1003));
    expect(await v1.setState(main, 0b010)).toBe(0);
    const last = (await v1.save(main)).at(-1);
    expect(last?.length).toBeLessThan(SECTION);
    expect((await v1.read(main, PAGE, 1)).error).toBe(EINVAL);
    expect(await v1.write(main, PAGE, fields(1))).toBe(EINVAL);
    expect(await v1.write(main, v1.DATA_SIZE, fields(1n))).toBe(EINVAL);
  });

  it('lets the piece be read from the mapping', async () => {
    const { main } = await inPreCopy();
    const { fds } = await main.request(5, fields(1024, 0, v1.REGION, 0, 0n, 0n));
    const mapping = native.map(fds[0] ?? -1, PAGE, SECTION, 1);
    if (typeof mapping === 'number') throw new Error(`map: ${mapping}`);
    await v1.readWide(main, v1.PENDING_BYTES);
    const piece = await v1.takePiece(main);
    expect(Buffer.from(mapping)).toEqual(piece);
    native.unmap(mapping);
    for (const fd of fds) native.close(fd);
  });
});

describe('the resuming sequence', () => {
  it('takes a piece in parts, from the mapping, and of other sizes than it was saved in', async () => {
    const from = await withContent();
    expect(await v1.setState(from.main, 0b010)).toBe(0);
    const state = Buffer.concat(await v1.save(from.main));
    const to = await served();
    const { fds } = await to.main.request(5, fields(1024, 0, v1.REGION, 0, 0n, 0n));
    const mapping = native.map(fds[0] ?? -1, PAGE, SECTION, 3);
    if (typeof mapping === 'number') throw new Error(`map: ${mapping}`);
    expect(await v1.setState(to.main, 0b100)).toBe(0);
    for (let at = 0; at < state.length; at += 5000) {
      const piece = state.subarray(at, at + 5000);
      if (at % 3 === 0) new Uint8Array(mapping).set(piece);
      else {
        expect(await v1.write(to.main, PAGE, piece.subarray(0, 100))).toBe(0);
        expect(await v1.write(to.main, PAGE + 100, piece.subarray(100))).toBe(0);
      }
      expect(await v1.write(to.main, v1.DATA_SIZE, fields(BigInt(piece.length)))).toBe(0);
    }
    native.unmap(mapping);
    for (const fd of fds) native.close(fd);
    expect(await v1.setState(to.main, 0b001)).toBe(0);
    expect(contentOf(to.device)).toEqual(contentOf(from.device));
  });

  it('refuses a piece that is longer than the data section, and takes one of no bytes', async () => {
    const { main } = await served();
    expect(await v1.setState(main, 0b100)).toBe(0);
    expect(await v1.write(main, v1.DATA_SIZE, fields(BigInt(SECTION + 1)))).toBe(EINVAL);
    expect(await v1.write(main, v1.DATA_SIZE, fields(2n ** 63n))).toBe(EINVAL);
    expect(await v1.write(main, v1.DATA_SIZE, fields(0n))).toBe(0);
    expect((await v1.read(main, PAGE, 8)).error).toBe(EINVAL);
    expect(await v1.readWide(main, v1.PENDING_BYTES)).toBe(0);
    expect(await v1.getState(main)).toBe(0b100);
  });

  it('ends in ERROR when the state is incomplete, which only a reset leaves', async () => {
    const from = await withContent();
    expect(await v1.setState(from.main, 0b010)).toBe(0);
    const pieces = await v1.save(from.main);
    const { main } = await served();
    expect(await v1.setState(main, 0b100)).toBe(0);
    expect(await v1.load(main, pieces.slice(0, 1))).toBe(0);
    expect(await v1.setState(main, 0b001)).not.toBe(0);
    expect(await v1.getState(main)).toBe(0b110);
    for (const state of [0b000, 0b001, 0b010, 0b011, 0b100])
      expect(await v1.setState(main, state)).toBe(EINVAL);
    expect(await v1.getState(main)).toBe(0b110);
    expect((await main.request(13)).error).toBe(0);
    expect(await v1.getState(main)).toBe(0b001);
  });

  it('ignores the saving part when the state is incomplete', async () => {
    const { main } = await served();
    expect(await v1.setState(main, 0b100)).toBe(0);
    expect(await v1.setState(main, 0b010)).not.toBe(0);
    expect(await v1.getState(main)).toBe(0b110);
  });
});

describe('who may drive', () => {
  const bothSilent = async (main: RawClient): Promise<void> => {
    expect(await v1.getState(main)).toBe(0b011);
    expect(await v1.setState(main, 0b001)).toBe(EBUSY);
    expect((await v1.read(main, v1.PENDING_BYTES, 8)).error).toBe(EBUSY);
    expect((await v1.read(main, v1.DATA_OFFSET, 8)).error).toBe(EBUSY);
    expect((await v1.read(main, PAGE, 8)).error).toBe(EBUSY);
  };

  it('is one connection at a time: others read the state, and get EBUSY for the rest', async () => {
    const { main, control } = await withContent();
    expect(await v1.setState(control, 0b011)).toBe(0);
    await bothSilent(main);
    expect((await v1.save(control)).length).toBeGreaterThan(0);
    expect(await v1.setState(control, 0b001)).toBe(0);
    expect(await v1.setState(main, 0b011)).toBe(0);
    expect(await v1.setState(control, 0b001)).toBe(EBUSY);
  });

  it('under a hold is the control side, also after its controller has gone', async () => {
    const { main, control, served: running, server } = await withContent();
    expect(await v1.setState(control, 0b010)).toBe(0);
    expect(server.hold.active).toBe(true);
    control.close();
    await expect.poll(() => server.controls).toBe(0);
    expect(await v1.getState(main)).toBe(0b010);
    expect(await v1.setState(main, 0b001)).toBe(EBUSY);
    expect((await v1.read(main, v1.PENDING_BYTES, 8)).error).toBe(EBUSY);
    const next = await running.control();
    expect(await v1.setState(next, 0b001)).toBe(0);
    expect(server.hold.active).toBe(false);
  });

  it('holds a VMM on leaving the running states over the control socket, not over its own', async () => {
    const { main, server } = await withContent();
    expect(await v1.setState(main, 0b000)).toBe(0);
    expect(server.hold.active).toBe(false);
    expect(await v1.setState(main, 0b001)).toBe(0);
  });

  it('is told of a reset by somebody else before it goes on', async () => {
    const { main, control } = await withContent();
    expect(await v1.setState(control, 0b011)).toBe(0);
    expect(await v1.readWide(control, v1.PENDING_BYTES)).toBeGreaterThan(0);
    expect((await main.request(13)).error).toBe(0);
    expect(await v1.setState(control, 0b010)).toBe(ENODEV);
    expect(await v1.getState(control)).toBe(0b001);
    expect(await v1.readWide(control, v1.PENDING_BYTES)).toBe(0);
    expect(await v1.setState(control, 0b010)).toBe(0);
    expect(await v1.save(control)).toHaveLength(1);
  });

  it('keeps the state when the one that drives goes: nothing happens that nobody asked for', async () => {
    const { main, served: running, server } = await withContent();
    expect(await v1.setState(main, 0b011)).toBe(0);
    main.close();
    await expect.poll(() => server.main).toBe(null);
    const next = await running.main();
    expect(await v1.getState(next)).toBe(0b011);
    expect(await v1.setState(next, 0b001)).toBe(0);
  });
});

describe('a server that is told which rules to enforce', () => {
  it('refuses what libvfio-user refused', async () => {
    const { main } = await served({ rule: 'v1-libvfio-user' });
    expect(await v1.setState(main, 0b000)).toBe(0);
    expect(await v1.setState(main, 0b100)).toBe(EINVAL);
    expect(await v1.setState(main, 0b010)).toBe(EINVAL);
    expect(await v1.getState(main)).toBe(0b000);
  });

  it('refuses what the check of September 2021 lacked: resuming from running', async () => {
    const { main } = await served({ rule: 'v1-2021-09' });
    expect(await v1.setState(main, 0b100)).toBe(EINVAL);
    expect(await v1.setState(main, 0b000)).toBe(0);
    expect(await v1.setState(main, 0b100)).toBe(0);
  });

  it('takes what an open list does not name', async () => {
    const { main } = await served({ rule: 'v1-2019' });
    expect(await v1.setState(main, 0b010)).toBe(0);
    expect(await v1.setState(main, 0b000)).toBe(0);
  });

  it('takes every change between valid states unless told otherwise', async () => {
    const { main } = await served();
    const valid = [0b000, 0b001, 0b010, 0b011];
    for (const from of valid) {
      for (const to of valid) {
        expect(await v1.setState(main, from)).toBe(0);
        expect([await v1.setState(main, to), await v1.getState(main)], `${from} ${to}`).toEqual([0, to]);
      }
    }
  });

  it('does not start with rules or a data section that there are not', async () => {
    await expect(served({ rule: 'v1-2030' })).rejects.toThrow('v1-uapi');
    await expect(served({ rule: 'v2-7' })).rejects.toMatchObject({ errno: EINVAL });
    for (const dataSize of [0, 4095, 4097, 2 ** 40])
      await expect(served({ dataSize })).rejects.toThrow('pages');
  });
});
