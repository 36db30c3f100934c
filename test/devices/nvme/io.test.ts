import { describe, expect, it } from 'vitest';
import { describePages, type Submission, settled } from './driver.ts';
import { ManualNamespace } from './manual-namespace.ts';
import { benches, MAPPED, MESSAGE, WAYS } from './setup.ts';

const FLUSH = 0x00;
const WRITE = 0x01;
const READ = 0x02;
const COMPARE = 0x05;
const WRITE_ZEROES = 0x08;
const MANAGE = 0x09;

const FORCE = 1 << 30;
const DEALLOCATE = 4;

const pattern = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 9) * 13 + seed) & 0xff);

const isFilled = (bytes: Uint8Array = new Uint8Array(), value = 0): boolean =>
  Buffer.compare(bytes, Buffer.alloc(bytes.length, value)) === 0;

describe.each(WAYS)('NVM commands ($name)', (way) => {
  const { make } = benches();

  async function ready(options: Parameters<typeof make>[1] = {}) {
    const bench = make(way, options);
    const { driver, guest } = bench;
    await driver.enable();
    const pair = await driver.createPair(1, 32);
    const run = (submission: Submission) => driver.on(pair, { namespace: 1, ...submission });
    /** Writes or reads `blocks` blocks of 512 bytes at `first` through pages of their own, in a scattered order. */
    const transfer = async (opcode: number, first: number, data: Uint8Array, offset = 0, listOffset = 0) => {
      const pages: bigint[] = [];
      for (let at = 0; at < offset + data.length; at += 4096) pages.push(guest.allocate(4096));
      pages.reverse();
      const place = (page: bigint, i: number): [bigint, number, number] => {
        const start = i === 0 ? offset : 0;
        const from = i * 4096 - offset + start;
        return [page + BigInt(start), from, Math.min(4096 - start, data.length - from)];
      };
      for (const [i, page] of pages.entries()) {
        const [address, from, length] = place(page, i);
        guest.at(address, length).set(data.subarray(from, from + length));
      }
      const [prp1, prp2] = describePages(
        guest,
        [(pages[0] ?? 0n) + BigInt(offset), ...pages.slice(1)],
        listOffset,
      );
      const completion = await run({ opcode, prp1, prp2, dwords: [first, 0, data.length / 512 - 1] });
      const result = new Uint8Array(data.length);
      for (const [i, page] of pages.entries()) {
        const [address, from, length] = place(page, i);
        result.set(guest.at(address, length), from);
      }
      return { ...completion, data: result };
    };
    return { ...bench, pair, run, transfer };
  }

  it.each<[string, number, number, number]>([
    ['one block', 512, 0, 0],
    ['a page', 4096, 0, 0],
    ['a page from its middle on', 4096, 2048, 0],
    ['two pages', 8192, 0, 0],
    ['a list', 64 * 1024, 0, 0],
    ['a list from the middle of a page on', 64 * 1024, 512, 64],
    ['a list that is chained', 64 * 1024, 0, 4096 - 16],
    ['a list whose first entry is the pointer to the next', 64 * 1024, 1024, 4096 - 8],
    ['2 MiB, with a list that fills a page', 2 * 1024 * 1024, 1024, 0],
  ])('write and read %s', async (_, length, offset, listOffset) => {
    const { transfer, device } = await ready();
    const data = pattern(length);
    expect((await transfer(WRITE, 3, data, offset, listOffset)).status).toBe(0);
    const bytes = device.state.ram?.bytes ?? new Uint8Array();
    expect(Buffer.compare(bytes.subarray(3 * 512, 3 * 512 + length), data)).toBe(0);
    expect(bytes[3 * 512 + length], 'and no more').toBe(0);
    const read = await transfer(READ, 3, new Uint8Array(length), offset, listOffset);
    expect([read.status, Buffer.compare(read.data, data)]).toEqual([0, 0]);
  });

  it('mark what they write for a log of dirty pages', async () => {
    const { host, guest, run, pair } = await ready();
    const [data, zeros] = [guest.allocate(8192), guest.allocate(4096)];
    host.memory.dirtyLog.start(4096n, []);
    await run({ opcode: READ, prp1: data + 512n, prp2: data + 4096n, dwords: [0, 0, 14] });
    await run({ opcode: WRITE, prp1: zeros, dwords: [0, 0, 0] });
    const pages = Math.ceil(guest.bytes.length / 4096);
    const bitmap = host.memory.dirtyLog.report(guest.base, BigInt(pages * 4096), 4096n);
    const dirty: bigint[] = [];
    for (let page = 0; page < pages; page++)
      if (((bitmap[page >> 3] ?? 0) >> (page & 7)) & 1) dirty.push(guest.base + BigInt(page * 4096));
    expect(dirty).toEqual([pair.completion, data, data + 4096n]);
  });

  it.each<[string, Submission, number]>([
    ['another namespace', { opcode: READ, namespace: 2 }, 0x00b],
    ['no namespace', { opcode: READ, namespace: 0 }, 0x00b],
    ['all namespaces', { opcode: WRITE, namespace: 0xffffffff }, 0x00b],
    ['a flush of another namespace', { opcode: FLUSH, namespace: 2 }, 0x00b],
    ['an unknown opcode', { opcode: 0x33 }, 0x001],
    ['scatter gather lists', { opcode: READ, flags: 0x80 }, 0x002],
    ['blocks behind the end', { opcode: READ, dwords: [8192] }, 0x080],
    ['blocks across the end', { opcode: READ, dwords: [8191, 0, 1] }, 0x080],
    [
      'blocks at the other end of the world',
      { opcode: READ, dwords: [0xffffffff, 0xffffffff, 0xffff] },
      0x002,
    ],
    ['one block there', { opcode: WRITE, dwords: [0xffffffff, 0xffffffff, 0] }, 0x080],
    ['zeros behind the end', { opcode: WRITE_ZEROES, dwords: [8000, 0, 0xffff] }, 0x080],
    ['more than 2 MiB', { opcode: READ, dwords: [0, 0, 4096] }, 0x002],
    ['to compare more than 2 MiB', { opcode: COMPARE, dwords: [0, 0, 4096] }, 0x002],
    ['data that is not aligned', { opcode: READ, prp1: 0x1_0000_0001n }, 0x013],
    [
      'a second page with an offset',
      { opcode: READ, prp1: 0x1_0000_0000n, prp2: 0x1_0000_1010n, dwords: [0, 0, 15] },
      0x013,
    ],
    ['data that is nowhere', { opcode: READ, prp1: 0x8_0000_0000n }, 0x004],
    ['data to write that is nowhere', { opcode: WRITE, prp1: 0x8_0000_0000n }, 0x004],
    [
      'data at the end of all addresses',
      { opcode: READ, prp1: 0xffff_ffff_ffff_f000n, prp2: 0n, dwords: [0, 0, 15] },
      0x004,
    ],
    [
      'a list that is nowhere',
      { opcode: READ, prp1: 0x1_0000_0000n, prp2: 0x8_0000_0000n, dwords: [0, 0, 63] },
      0x004,
    ],
    ['ranges that are nowhere', { opcode: MANAGE, prp1: 0x8_0000_0000n, dwords: [0, DEALLOCATE] }, 0x004],
  ])('refuse %s', async (_, submission, status) => {
    const { run, device } = await ready();
    device.state.ram?.fill(0x55);
    expect((await run(submission)).status).toBe(status);
    expect(isFilled(device.state.ram?.bytes, 0x55)).toBe(true);
  });

  it('flush', async () => {
    const { run } = await ready();
    expect((await run({ opcode: FLUSH })).status).toBe(0);
    expect((await run({ opcode: FLUSH, namespace: 0xffffffff })).status).toBe(0);
  });

  it('compare', async () => {
    const { transfer } = await ready();
    const data = pattern(8192);
    await transfer(WRITE, 16, data);
    expect((await transfer(COMPARE, 16, data)).status).toBe(0);
    data[5000] = (data[5000] ?? 0) ^ 1;
    expect((await transfer(COMPARE, 16, data)).status).toBe(0x285);
  });

  it('write zeros', async () => {
    const { run, device } = await ready();
    device.state.ram?.fill(0xaa);
    expect((await run({ opcode: WRITE_ZEROES, dwords: [2, 0, 999] })).status).toBe(0);
    const bytes = device.state.ram?.bytes ?? new Uint8Array();
    expect(bytes.indexOf(0)).toBe(1024);
    expect(bytes.indexOf(0xaa, 1024)).toBe(1002 * 512);
  });

  it('deallocate ranges, which read as zeros then', async () => {
    const { run, guest, device } = await ready();
    device.state.ram?.fill(0xaa);
    const list = guest.allocate(4096);
    const view = guest.view(list, 4096);
    for (const [i, [first, count]] of [
      [10, 2],
      [0, 1],
      [8191, 1],
    ].entries()) {
      view.setUint32(16 * i + 4, count ?? 0, true);
      view.setBigUint64(16 * i + 8, BigInt(first ?? 0), true);
    }
    expect((await run({ opcode: MANAGE, prp1: list, dwords: [2, 1] })).status, 'only a hint').toBe(0);
    expect(device.state.ram?.bytes.includes(0)).toBe(false);
    expect((await run({ opcode: MANAGE, prp1: list, dwords: [2, DEALLOCATE] })).status).toBe(0);
    const zero = [...Array(8192).keys()].filter((block) => device.state.ram?.bytes[block * 512] === 0);
    expect(zero).toEqual([0, 10, 11, 8191]);
  });

  it('deallocate nothing when a range lies outside', async () => {
    const { run, guest, device } = await ready();
    device.state.ram?.fill(0xaa);
    const list = guest.allocate(4096);
    guest.view(list, 4096).setUint32(4, 8, true);
    guest.view(list, 4096).setUint32(20, 8193, true);
    expect((await run({ opcode: MANAGE, prp1: list, dwords: [1, DEALLOCATE] })).status).toBe(0x080);
    expect(device.state.ram?.bytes.includes(0)).toBe(false);
  });

  it('deallocate no more blocks than there are, however often they are named', async () => {
    const { run, guest, device } = await ready();
    const list = guest.allocate(4096);
    for (let i = 0; i < 256; i++) guest.view(list, 4096).setUint32(16 * i + 4, 8192, true);
    device.state.ram?.fill(0xaa);
    expect((await run({ opcode: MANAGE, prp1: list, dwords: [255, DEALLOCATE] })).status).toBe(0);
    expect(isFilled(device.state.ram?.bytes, 0)).toBe(true);
  });

  it('go through queues whose ends wrap around, in order', async () => {
    const { pair, driver, guest } = await ready();
    const data = guest.allocate(4096);
    const seen: number[] = [];
    const sent: number[] = [];
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 13; i++)
        sent.push(pair.put({ opcode: READ, namespace: 1, prp1: data, dwords: [i, 0, 0] }));
      pair.ring();
      const before = seen.length;
      await driver.until(() => {
        seen.push(...pair.reap().map(({ id }) => id));
        return seen.length === before + 13;
      }, 'thirteen completions');
    }
    expect(seen).toEqual(sent);
  });

  it('wait while the completion queue is full', async () => {
    const { driver, guest } = await ready();
    const pair = await driver.createPair(2, 4, 2);
    const data = guest.allocate(4096);
    const wide = await driver.command({
      opcode: 0x01,
      prp1: guest.allocate(4096),
      dwords: [0x001f0003, 0x00020001],
    });
    expect(wide.status).toBe(0);
    for (let i = 0; i < 3; i++) pair.put({ opcode: READ, namespace: 1, prp1: data });
    pair.ring();
    await settled();
    await settled();
    const first = pair.reap({ quietly: true });
    expect(first).toHaveLength(3);
    for (let i = 0; i < 3; i++) pair.put({ opcode: READ, namespace: 1, prp1: data });
    pair.ring();
    await settled();
    await settled();
    expect(pair.reap({ quietly: true })).toEqual([]);
    pair.acknowledge();
    await driver.until(() => pair.reap({ quietly: true, limit: 1 }).length === 1, 'one more');
    pair.acknowledge();
    const rest: number[] = [];
    await driver.until(() => rest.push(...pair.reap().map(({ id }) => id)) === 2, 'the rest');
    expect(rest).toEqual([4, 5]);
  });

  it('work with blocks of 4096 bytes', async () => {
    const { run, guest, device } = await ready({ blockSize: 4096 });
    const data = guest.allocate(8192);
    guest.at(data, 8192).set(pattern(8192));
    expect((await run({ opcode: WRITE, prp1: data, prp2: data + 4096n, dwords: [1, 0, 1] })).status).toBe(0);
    const stored = device.state.ram?.bytes.subarray(4096, 4096 + 8192) ?? new Uint8Array();
    expect(Buffer.compare(stored, pattern(8192))).toBe(0);
    expect((await run({ opcode: READ, dwords: [1023, 0, 1] })).status).toBe(0x080);
  });
});

describe('memory that can be reached only in part', () => {
  const { make } = benches();

  it.each([true, false])('is used where the device may (asynchronous: %s)', async (asynchronous) => {
    const { driver, host } = make({ name: '', reach: 'mapped', asynchronous });
    const only = (read: boolean, iova: bigint) => {
      const fd = host.native.memfd('page', 8192, true);
      const flags = { read, write: !read, mode: 'mmap' } as const;
      host.memory.map({ iova, size: 8192n, offset: 0n, flags, fd });
    };
    only(true, 0x10000n);
    only(false, 0x20000n);
    await driver.enable();
    const pair = await driver.createPair(1, 8);
    const run = (opcode: number, prp1: bigint) => driver.on(pair, { opcode, namespace: 1, prp1 });
    expect((await run(WRITE, 0x10000n)).status).toBe(0);
    expect((await run(READ, 0x10000n)).status).toBe(0x004);
    expect((await run(READ, 0x20000n)).status).toBe(0);
    expect((await run(WRITE, 0x20000n)).status).toBe(0x004);
  });

  it.each([true, false])(
    'is used across maps that are neighbours (asynchronous: %s)',
    async (asynchronous) => {
      const { driver, host } = make({ name: '', reach: 'mapped', asynchronous });
      const pages = [0, 1, 2].map((i) => host.mapMemory(0x40000n + BigInt(i * 4096), 4096));
      for (const [i, page] of pages.entries()) page.set(pattern(4096, i));
      await driver.enable();
      const pair = await driver.createPair(1, 8);
      const list = driver.guest.allocate(4096);
      driver.guest.view(list, 16).setBigUint64(0, 0x41000n, true);
      driver.guest.view(list, 16).setBigUint64(8, 0x42000n, true);
      const both = { namespace: 1, prp1: 0x40000n, prp2: list, dwords: [0, 0, 23] };
      expect((await driver.on(pair, { opcode: WRITE, ...both })).status).toBe(0);
      for (const page of pages) page.fill(0);
      expect((await driver.on(pair, { opcode: READ, ...both })).status).toBe(0);
      expect(pages.map((page, i) => Buffer.compare(page, pattern(4096, i)))).toEqual([0, 0, 0]);
    },
  );

  it('is followed when the guest maps its queues anew', async () => {
    const { driver, host, guest } = make(MAPPED);
    await driver.enable();
    const pair = await driver.createPair(1, 8);
    const read = () => driver.on(pair, { opcode: READ, namespace: 1, prp1: guest.base });
    expect((await read()).status).toBe(0);
    host.memory.unmapAll();
    guest.mapInto(host);
    expect((await read()).status).toBe(0);
    host.memory.unmapAll();
    pair.put({ opcode: READ, namespace: 1 });
    pair.ring();
    await settled();
    expect(driver.status & 2, 'no queue, no controller').toBe(2);
  });
});

describe('storage that takes time', () => {
  const { make } = benches();

  async function ready(backend: ManualNamespace, way = MAPPED) {
    const bench = make(way, { backend });
    await bench.driver.enable();
    const pair = await bench.driver.createPair(1, 64);
    const put = (submission: Submission) => pair.put({ namespace: 1, prp1: bench.guest.base, ...submission });
    return { ...bench, pair, put };
  }

  it.each([MAPPED, MESSAGE])(
    'has many commands in progress at once, and completes them as they end ($name)',
    async (way) => {
      const backend = new ManualNamespace({ manual: ['read'] });
      const { pair, put, driver } = await ready(backend, way);
      for (let i = 0; i < 50; i++) put({ opcode: READ, dwords: [i, 0, 0] });
      pair.ring();
      for (let i = 0; i < 10; i++) await settled();
      expect(backend.pending).toHaveLength(32);
      backend.pending.splice(1, 1);
      backend.finish();
      const seen = new Set<number>();
      await driver.until(() => {
        for (const { id } of pair.reap()) seen.add(id);
        backend.finish();
        return seen.size === 49;
      }, 'all but one');
    },
  );

  it.each<[string, Submission, number]>([
    ['read', { opcode: READ }, 0x281],
    ['compare', { opcode: COMPARE }, 0x281],
    ['write', { opcode: WRITE }, 0x280],
    ['write', { opcode: WRITE, dwords: [0, 0, FORCE] }, 0x280],
    ['zero', { opcode: WRITE_ZEROES }, 0x280],
    ['flush', { opcode: FLUSH }, 0x280],
  ])('may fail to %s', async (_, submission, status) => {
    const backend = new ManualNamespace({ manual: ['read', 'write', 'zero', 'flush'] });
    const { pair, put, driver, device, host } = await ready(backend);
    put(submission);
    pair.ring();
    await settled();
    backend.refuse();
    await settled();
    const [completion] = pair.reap();
    expect([completion?.status, completion?.retry]).toEqual([status, true]);
    expect([device.state.mediaErrors, driver.status]).toEqual([1n, 1]);
    expect(host.reported.map(({ message }) => message)).toEqual([
      "the device's work failed: the storage has failed",
    ]);
  });

  it('has each of its failures reported once', async () => {
    const backend = new ManualNamespace({ manual: ['read'] });
    const { pair, put, host } = await ready(backend);
    for (let i = 0; i < 3; i++) {
      put({ opcode: READ });
      put({ opcode: READ });
      pair.ring();
      await settled();
      backend.refuse();
      await settled();
    }
    expect(pair.reap()).toHaveLength(6);
    expect(host.reported).toHaveLength(1);
  });

  it.each<[string, Submission, boolean]>([
    ['an ordinary write', { opcode: WRITE }, false],
    ['a write that forces it', { opcode: WRITE, dwords: [0, 0, FORCE] }, true],
    ['ordinary zeros', { opcode: WRITE_ZEROES }, false],
    ['zeros that force it', { opcode: WRITE_ZEROES, dwords: [0, 0, FORCE] }, true],
  ])('is flushed or not for %s', async (_, submission, durable) => {
    const backend = new ManualNamespace({ manual: [] });
    const { pair, put, guest } = await ready(backend);
    backend.bytes.fill(9);
    guest.at(guest.base, 512).set(pattern(512));
    put(submission);
    pair.ring();
    await settled();
    expect(pair.reap().map(({ status }) => status)).toEqual([0]);
    expect(backend.begun.get('flush') ?? 0).toBe(durable ? 1 : 0);
    expect(Buffer.compare(backend.durable, backend.bytes) === 0).toBe(durable);
  });

  it('is flushed after each write when the guest wants no cache', async () => {
    const backend = new ManualNamespace({ manual: [] });
    const { pair, put, driver } = await ready(backend);
    await driver.command({ opcode: 0x09, dwords: [0x06, 0] });
    put({ opcode: WRITE });
    pair.ring();
    await settled();
    expect([pair.reap().length, backend.begun.get('flush')]).toEqual([1, 1]);
  });

  it('is no reason to write to memory that was unmapped meanwhile', async () => {
    const backend = new ManualNamespace({ manual: ['read'] });
    const { pair, put, host } = await ready(backend);
    const extra = host.mapMemory(0x9_0000_0000n, 4096);
    backend.bytes.fill(7);
    put({ opcode: READ, prp1: 0x9_0000_0000n });
    pair.ring();
    await settled();
    host.memory.unmap(0x9_0000_0000n, 4096n);
    backend.finish();
    await settled();
    expect(pair.reap().map(({ status }) => status)).toEqual([0x004]);
    expect(extra.every((byte) => byte === 0)).toBe(true);
  });

  it.each<[string, Submission, (ranges: DataView) => void]>([
    ['at a time', { opcode: WRITE_ZEROES, dwords: [0, 0, 10239] }, () => {}],
    [
      'in many ranges',
      { opcode: MANAGE, dwords: [255, DEALLOCATE] },
      (ranges) => {
        for (let i = 0; i < 256; i++) {
          ranges.setUint32(16 * i + 4, 40, true);
          ranges.setUint32(16 * i + 8, 40 * i, true);
        }
      },
    ],
  ])('clears a lot %s without keeping everything else from running', async (_, submission, describe) => {
    const { driver, device, guest } = make(MAPPED, { ram: 40 * 1024 * 1024, blockSize: 4096 });
    device.state.ram?.fill(1);
    await driver.enable();
    const pair = await driver.createPair(1, 8);
    const prp1 = guest.allocate(4096);
    describe(guest.view(prp1, 4096));
    pair.put({ namespace: 1, prp1, ...submission });
    pair.ring();
    expect(pair.reap(), 'not at once').toEqual([]);
    await driver.until(() => pair.reap().length === 1, 'the completion');
    expect(isFilled(device.state.ram?.bytes, 0)).toBe(true);
  });
});
