import { describe, expect, it } from 'vitest';
import { Errno } from '../../../src/errors/index.ts';
import { loadNative } from '../../../src/native/index.ts';
import { fields } from '../../helpers/raw-client.ts';
import * as v1 from './v1-driver.ts';
import { contentOf, SECTION, v1Servers } from './v1-servers.ts';

const { EINVAL } = Errno;
const native = loadNative();
const { served, withContent } = v1Servers();
const PAGE = 4096;

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
