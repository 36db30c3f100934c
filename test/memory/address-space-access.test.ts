import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { AddressSpace, type DmaErrorCode, type DmaMode, dmaErrors } from '../../src/memory/index.ts';
import {
  dmaError,
  dmaRejection,
  fileBytes,
  GuestPort,
  guestFile,
  guestMappings,
  native,
  openFds,
  pattern,
  request,
} from './guest.ts';

const PAGE = 4096n;
const U64 = 1n << 64n;
const MODES: DmaMode[] = ['mmap', 'file', 'message'];

let fd = -1;
let before = 0;
let space: AddressSpace;
beforeEach(() => {
  before = openFds();
  fd = guestFile(16 * 4096);
  space = new AddressSpace(native, { maxMaps: 8 });
});
afterEach(() => {
  space.clear();
  native.close(fd);
  expect(openFds()).toBe(before);
  expect(guestMappings()).toBe(0);
});

/** A map of the guest file; message maps get no fd. */
function map(mode: DmaMode, iova: bigint, size: bigint, extra: Parameters<typeof request>[4] = {}): void {
  space.map(request(mode, iova, size, mode === 'message' ? null : native.dup(fd), extra));
}

const bytes = (length: number) => new Uint8Array(length);

describe('readSync and writeSync', () => {
  beforeEach(() => {
    map('mmap', 0n, 2n * PAGE, { offset: PAGE });
    map('file', 2n * PAGE, PAGE, { offset: 8n * PAGE });
    map('mmap', 3n * PAGE, PAGE, { offset: 0n });
    map('message', 4n * PAGE, PAGE);
    map('mmap', 6n * PAGE, PAGE, { write: false });
    map('mmap', 7n * PAGE, PAGE, { offset: 12n * PAGE });
    map('file', 8n * PAGE, PAGE, { offset: 13n * PAGE, read: false });
  });

  it('spans adjacent maps', () => {
    const target = bytes(10 + 4096 + 10);
    space.readSync(2n * PAGE - 10n, target);
    expect(target.subarray(0, 10)).toEqual(pattern(3 * 4096 - 10, 10));
    expect(target.subarray(10, 4106)).toEqual(pattern(8 * 4096, 4096));
    expect(target.subarray(4106)).toEqual(pattern(0, 10));
  });

  it('writes across adjacent maps to the right places', () => {
    space.writeSync(2n * PAGE - 10n, bytes(4096 + 20).fill(0xaa));
    expect(fileBytes(fd, 3 * 4096 - 11, 12)).toEqual(
      Uint8Array.of(pattern(3 * 4096 - 11, 1)[0] ?? 0, ...bytes(10).fill(0xaa), pattern(3 * 4096, 1)[0] ?? 0),
    );
    expect(fileBytes(fd, 8 * 4096, 4096)).toEqual(bytes(4096).fill(0xaa));
    expect(fileBytes(fd, 0, 11)).toEqual(Uint8Array.of(...bytes(10).fill(0xaa), pattern(10, 1)[0] ?? 0));
  });

  it.each<[string, bigint, number, 'read' | 'write', DmaErrorCode]>([
    ['a hole at the start', 5n * PAGE, 8, 'read', 'ERR_DMA_UNMAPPED'],
    ['a hole at the end', 9n * PAGE - 4n, 8, 'write', 'ERR_DMA_UNMAPPED'],
    ['a hole behind a message map', 5n * PAGE - 4n, 8, 'read', 'ERR_DMA_UNMAPPED'],
    ['an address past 2^64', U64, 8, 'read', 'ERR_DMA_UNMAPPED'],
    ['a negative address', -1n, 8, 'read', 'ERR_DMA_UNMAPPED'],
    ['a map without write permission', 7n * PAGE - 4n, 8, 'write', 'ERR_DMA_PROTECTED'],
    ['a map without read permission', 8n * PAGE - 4n, 8, 'read', 'ERR_DMA_PROTECTED'],
    ['a message map', 4n * PAGE - 4n, 8, 'write', 'ERR_DMA_NEEDS_MESSAGE'],
  ])('refuses %s before anything is transferred', async (_what, iova, length, access, code) => {
    space.dirtyLog.start(PAGE, []);
    const data = bytes(length).fill(0x55);
    const old = fileBytes(fd, 0, 16 * 4096);
    const call = () => (access === 'read' ? space.readSync(iova, data) : space.writeSync(iova, data));
    expect(dmaError(call, code).errno).toBe(dmaErrors[code]);
    if (code !== 'ERR_DMA_NEEDS_MESSAGE') {
      await dmaRejection(access === 'read' ? space.read(iova, data) : space.write(iova, data), code);
    }
    expect(data).toEqual(bytes(length).fill(0x55));
    expect(Buffer.compare(fileBytes(fd, 0, 16 * 4096), old)).toBe(0);
    expect(space.dirtyLog.report(0n, 16n * PAGE, PAGE)).toEqual(bytes(8));
  });

  it('does nothing for no bytes, mapped or not', async () => {
    space.readSync(100n * PAGE, bytes(0));
    space.writeSync(100n * PAGE, bytes(0));
    await space.read(100n * PAGE, bytes(0));
    await space.write(100n * PAGE, bytes(0));
  });
});

describe('read and write', () => {
  const MEMORY = 4 * 4096;
  let port: GuestPort;
  beforeEach(() => {
    port = new GuestPort(pattern(500, MEMORY));
    space.setPort(port);
    map('mmap', 0n, PAGE);
    map('message', PAGE, PAGE);
    map('message', 2n * PAGE, 10n);
    map('file', 2n * PAGE + 10n, PAGE);
  });

  it('mixes mapped memory, messages and file access in one transfer', async () => {
    const target = bytes(4096 + 10 + 16);
    await space.read(PAGE - 8n, target);
    expect(port.log).toEqual(['read 4096 4096', 'read 8192 10']);
    expect(target.subarray(0, 8)).toEqual(pattern(4088, 8));
    expect(target.subarray(8, 8 + 4106)).toEqual(pattern(500 + 4096, 4106));
    expect(target.subarray(8 + 4106)).toEqual(pattern(0, 8));
    await space.write(PAGE - 8n, bytes(4096 + 10 + 16).fill(0xee));
    expect(port.log.slice(2)).toEqual(['write 4096 4096', 'write 8192 10']);
    expect(port.memory.subarray(4096, 8192 + 10)).toEqual(bytes(4106).fill(0xee));
    expect(fileBytes(fd, 4088, 8)).toEqual(bytes(8).fill(0xee));
    expect(fileBytes(fd, 0, 9)).toEqual(Uint8Array.of(...bytes(8).fill(0xee), pattern(8, 1)[0] ?? 0));
  });

  it.each([null, 'disconnected'])('needs a connected port for messages only: %s', async (kind) => {
    port.connected = false;
    if (kind === null) space.setPort(null);
    const old = fileBytes(fd, 0, 4096);
    expect((await dmaRejection(space.read(PAGE, bytes(1)), 'ERR_DMA_NOT_CONNECTED')).errno).toBe(
      Errno.ENOTCONN,
    );
    await dmaRejection(space.write(PAGE - 4n, bytes(8)), 'ERR_DMA_NOT_CONNECTED');
    expect(fileBytes(fd, 0, 4096)).toEqual(old);
    await space.read(0n, bytes(16));
  });

  it('refuses an answer of the wrong length', async () => {
    port.read = async () => bytes(7);
    const error = await dmaRejection(space.read(PAGE, bytes(8)), 'ERR_DMA_IO');
    expect(error).toMatchObject({ errno: Errno.EIO, context: { expected: 8, received: 7 } });
  });

  it('passes on what the port rejects with', async () => {
    const release = port.hold();
    const pending = space.read(PAGE, bytes(8));
    const reason = new Error('the client is gone');
    release(reason);
    await expect(pending).rejects.toBe(reason);
  });

  it.each(['read', 'write'] as const)(
    'survives an unmap while a message %s is outstanding',
    async (access) => {
      const release = port.hold();
      const data = bytes(4096 + 20).fill(1);
      const pending = access === 'read' ? space.read(PAGE, data) : space.write(PAGE, data);
      space.unmapAll();
      release();
      await dmaRejection(pending, 'ERR_DMA_UNMAPPED');
      expect(port.log).toHaveLength(1);
    },
  );

  it('finishes what the port has answered when everything is cleared', async () => {
    const release = port.hold();
    const target = bytes(16);
    const pending = space.read(PAGE, target);
    space.clear();
    release();
    await pending;
    expect(target).toEqual(pattern(500 + 4096, 16));
    map('message', PAGE, PAGE);
    await dmaRejection(space.read(PAGE, target), 'ERR_DMA_NOT_CONNECTED');
  });
});

describe('view', () => {
  beforeEach(() => {
    map('mmap', 0n, PAGE, { offset: PAGE });
    map('mmap', PAGE, PAGE, { write: false });
    map('mmap', 2n * PAGE, PAGE, { read: false });
    map('file', 3n * PAGE, PAGE);
    map('message', 4n * PAGE, PAGE);
  });

  it('is the memory itself', () => {
    const view = space.view(10n, 20);
    expect(view).toEqual(pattern(4106, 20));
    view?.fill(3);
    expect(fileBytes(fd, 4106, 20)).toEqual(bytes(20).fill(3));
    expect(space.view(0n, 4096)).toHaveLength(4096);
  });

  it.each([
    ['several maps', PAGE - 1n, 2],
    ['memory that may not be written', PAGE, 1],
    ['memory that may not be read', 2n * PAGE, 1],
    ['file access', 3n * PAGE, 1],
    ['messages', 4n * PAGE, 1],
    ['nothing', 5n * PAGE, 1],
  ])('does not exist over %s', (_what, iova, length) => {
    expect(space.view(iova, length)).toBeNull();
  });

  it('leaves it to its holder to mark what was written', () => {
    space.dirtyLog.start(PAGE, []);
    space.view(0n, 8)?.fill(1);
    expect(space.dirtyLog.report(0n, PAGE, PAGE)[0]).toBe(0);
    space.markDirty(0n, 8);
    expect(space.dirtyLog.report(0n, PAGE, PAGE)[0]).toBe(1);
  });
});

describe('the dirty log', () => {
  const dirty = () => space.dirtyLog.report(0n, 8n * PAGE, PAGE)[0];
  let port: GuestPort;
  beforeEach(() => {
    port = new GuestPort(bytes(8 * 4096));
    space.setPort(port);
    for (const [index, mode] of MODES.entries()) map(mode, BigInt(index) * PAGE, PAGE);
    space.dirtyLog.start(PAGE, []);
  });

  it('knows every kind of write, and no read', async () => {
    await space.read(0n, bytes(3 * 4096));
    expect(dirty()).toBe(0);
    space.writeSync(0n, bytes(1));
    expect(dirty()).toBe(1);
    space.writeSync(PAGE - 1n, bytes(2));
    expect(dirty()).toBe(0b11);
    await space.write(2n * PAGE, bytes(1));
    expect(dirty()).toBe(0b100);
    await space.write(0n, bytes(3 * 4096));
    expect(dirty()).toBe(0b111);
  });

  it('knows a message write only once it is complete', async () => {
    const release = port.hold();
    const pending = space.write(2n * PAGE, bytes(1));
    expect(dirty()).toBe(0);
    release();
    await pending;
    expect(dirty()).toBe(0b100);
  });

  it('suspects a write that failed', async () => {
    const release = port.hold();
    const pending = space.write(2n * PAGE, bytes(1));
    release(new Error('the client is gone'));
    await expect(pending).rejects.toThrow('gone');
    expect(dirty()).toBe(0b100);
  });
});
