import { describe, expect, it } from 'vitest';
import { Errno } from '../../../src/errors/index.ts';
import { loadNative } from '../../../src/native/index.ts';
import { fields, QEMU_VERSION_JSON } from '../../helpers/raw-client.ts';
import { TestDevice } from '../../helpers/test-device.ts';
import * as v1 from './v1-driver.ts';
import { contentOf, SECTION, v1Servers } from './v1-servers.ts';

const { EINVAL, ENOTTY, EPERM } = Errno;
const native = loadNative();
const { world, served, withContent } = v1Servers();
const PAGE = 4096;

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
