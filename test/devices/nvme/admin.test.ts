import { describe, expect, it } from 'vitest';
import { IDENTIFY_CONTROLLER } from '../../../src/devices/nvme/identify-controller.ts';
import { IDENTIFY_NAMESPACE } from '../../../src/devices/nvme/identify-namespace.ts';
import type { Completion, NvmeDriver, Submission } from './driver.ts';
import { settled } from './driver.ts';
import type { Guest } from './guest.ts';
import { ManualNamespace } from './manual-namespace.ts';
import { benches, MAPPED, WAYS } from './setup.ts';

const INVALID_FIELD = 0x002;
const INVALID_NAMESPACE = 0x00b;

/** Runs a command with a page of data and returns both. */
async function withPage(driver: NvmeDriver, guest: Guest, submission: Submission) {
  const page = guest.allocate(4096);
  guest.at(page, 4096).fill(0xee);
  const completion = await driver.command({ ...submission, prp1: page });
  return { ...completion, data: guest.at(page, 4096), view: guest.view(page, 4096) };
}

const ascii = (bytes: Uint8Array, { at, size }: { at: number; size: number }): string =>
  Buffer.from(bytes.subarray(at, at + size)).toString('latin1');

describe.each(WAYS)('admin commands ($name)', (way) => {
  const { make } = benches();

  async function enabled(options: Parameters<typeof make>[1] = {}) {
    const bench = make(way, options);
    await bench.driver.enable();
    return { ...bench, page: (submission: Submission) => withPage(bench.driver, bench.guest, submission) };
  }

  it('identify the controller', async () => {
    const { page } = await enabled();
    const { status, data, view } = await page({ opcode: 0x06, dwords: [1] });
    const { fields } = IDENTIFY_CONTROLLER;
    expect(status).toBe(0);
    expect(ascii(data, fields.SN)).toBe('TEST'.padEnd(20));
    expect(ascii(data, fields.MN)).toBe('Ferry NVMe'.padEnd(40));
    expect(ascii(data, fields.SUBNQN)).toMatch(
      /^nqn\.2014-08\.org\.nvmexpress:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\0+$/,
    );
    expect([view.getUint16(0, true), view.getUint32(80, true), view.getUint8(77)]).toEqual([
      0x1234, 0x00010400, 9,
    ]);
    expect([view.getUint8(512), view.getUint8(513), view.getUint32(516, true)]).toEqual([0x66, 0x44, 1]);
    expect([view.getUint16(520, true), view.getUint8(525)], 'no cache to flush').toEqual([0x1d, 0]);
  });

  it('identify the namespace', async () => {
    const { page, device } = await enabled();
    const { status, data, view } = await page({ opcode: 0x06, namespace: 1, dwords: [0] });
    expect(status).toBe(0);
    expect([0, 8, 16].map((at) => view.getBigUint64(at, true))).toEqual([8192n, 8192n, 8192n]);
    expect(view.getUint32(IDENTIFY_NAMESPACE.fields.LBAF0.at, true)).toBe(9 << 16);
    expect(data.subarray(104, 120)).toEqual(device.state.uuid);
    const wide = await (await enabled({ blockSize: 4096 })).page({ opcode: 0x06, namespace: 1 });
    expect([wide.view.getBigUint64(0, true), wide.view.getUint32(128, true)]).toEqual([1024n, 12 << 16]);
  });

  it('list the active namespaces', async () => {
    const { page } = await enabled();
    const first = await page({ opcode: 0x06, namespace: 0, dwords: [2] });
    expect([first.view.getUint32(0, true), first.view.getUint32(4, true)]).toEqual([1, 0]);
    const next = await page({ opcode: 0x06, namespace: 1, dwords: [2] });
    expect([next.status, next.view.getUint32(0, true)]).toEqual([0, 0]);
    expect((await page({ opcode: 0x06, namespace: 0xfffffffe, dwords: [2] })).status).toBe(INVALID_NAMESPACE);
  });

  it('describe the namespace', async () => {
    const { page, device } = await enabled();
    const { data } = await page({ opcode: 0x06, namespace: 1, dwords: [3] });
    expect([...data.subarray(0, 4)], 'a UUID').toEqual([3, 16, 0, 0]);
    expect(data.subarray(4, 20)).toEqual(device.state.uuid);
    expect(data[20], 'and nothing else').toBe(0);
  });

  it.each<[string, Submission, number]>([
    ['a namespace that does not exist', { opcode: 0x06, namespace: 2, dwords: [0] }, INVALID_NAMESPACE],
    ['all namespaces together', { opcode: 0x06, namespace: 0xffffffff, dwords: [0] }, INVALID_NAMESPACE],
    ['descriptors of no namespace', { opcode: 0x06, namespace: 0, dwords: [3] }, INVALID_NAMESPACE],
    ['an unknown structure', { opcode: 0x06, dwords: [0x77] }, INVALID_FIELD],
    ['an unknown opcode', { opcode: 0x7f }, 0x001],
    ['Format NVM, which does not exist', { opcode: 0x80 }, 0x001],
    ['scatter gather lists', { opcode: 0x06, flags: 0x40, dwords: [1] }, INVALID_FIELD],
    ['fused operations', { opcode: 0x06, flags: 0x01, dwords: [1] }, INVALID_FIELD],
    ['an unknown log page', { opcode: 0x02, dwords: [0x00010099] }, 0x109],
    ['the log of one namespace', { opcode: 0x02, namespace: 1, dwords: [0x00010002] }, INVALID_FIELD],
    ['a log page from behind its end', { opcode: 0x02, dwords: [0x00010002, 0, 516] }, INVALID_FIELD],
    ['a log page from an odd offset', { opcode: 0x02, dwords: [0x00010002, 0, 2] }, INVALID_FIELD],
    ['a log page from far away', { opcode: 0x02, dwords: [0x00010002, 0, 0, 1] }, INVALID_FIELD],
    ['more of a log page than a transfer takes', { opcode: 0x02, dwords: [2, 0xffff] }, INVALID_FIELD],
    ['an unknown feature', { opcode: 0x0a, dwords: [0x55] }, INVALID_FIELD],
    ['to set an unknown feature', { opcode: 0x09, dwords: [0x55] }, INVALID_FIELD],
    ['to enable a cache that is not there', { opcode: 0x09, dwords: [0x06, 1] }, INVALID_FIELD],
    ['an unknown selection', { opcode: 0x0a, dwords: [0x70b] }, INVALID_FIELD],
    [
      'a feature of a namespace that does not exist',
      { opcode: 0x0a, namespace: 9, dwords: [0x0b] },
      INVALID_NAMESPACE,
    ],
    ['to save a feature', { opcode: 0x09, dwords: [0x8000000b, 1] }, 0x10d],
    ['a feature for one namespace only', { opcode: 0x09, namespace: 1, dwords: [0x0b, 1] }, 0x10f],
    ['65536 queues', { opcode: 0x09, dwords: [0x07, 0xffff] }, INVALID_FIELD],
    ['a power state that does not exist', { opcode: 0x09, dwords: [0x02, 1] }, INVALID_FIELD],
    ['a sensor that does not exist', { opcode: 0x09, dwords: [0x04, 0x00010100] }, INVALID_FIELD],
    ['a vector that does not exist', { opcode: 0x09, dwords: [0x09, 65] }, INVALID_FIELD],
    [
      'the configuration of a vector that does not exist',
      { opcode: 0x0a, dwords: [0x09, 65] },
      INVALID_FIELD,
    ],
    ['completion queue 0', { opcode: 0x05, prp1: 0x1_0000_0000n, dwords: [0x00070000, 1] }, 0x101],
    ['completion queue 65', { opcode: 0x05, prp1: 0x1_0000_0000n, dwords: [0x00070041, 1] }, 0x101],
    ['a completion queue of one entry', { opcode: 0x05, prp1: 0x1_0000_0000n, dwords: [1, 1] }, 0x102],
    [
      'a completion queue of 4097 entries',
      { opcode: 0x05, prp1: 0x1_0000_0000n, dwords: [0x10000001, 1] },
      0x102,
    ],
    [
      'a completion queue in pieces',
      { opcode: 0x05, prp1: 0x1_0000_0000n, dwords: [0x00070001, 0] },
      INVALID_FIELD,
    ],
    [
      'a completion queue with an offset',
      { opcode: 0x05, prp1: 0x1_0000_0010n, dwords: [0x00070001, 1] },
      0x013,
    ],
    [
      'a completion queue with vector 65',
      { opcode: 0x05, prp1: 0x1_0000_0000n, dwords: [0x00070001, 0x00410001] },
      0x108,
    ],
    ['submission queue 0', { opcode: 0x01, prp1: 0x1_0000_0000n, dwords: [0x00070000, 0x00010001] }, 0x101],
    [
      'a submission queue without a completion queue',
      { opcode: 0x01, prp1: 0x1_0000_0000n, dwords: [0x00070001, 0x00020001] },
      0x100,
    ],
    [
      'a submission queue onto the admin queue',
      { opcode: 0x01, prp1: 0x1_0000_0000n, dwords: [0x00070001, 1] },
      0x100,
    ],
    ['to delete submission queue 0', { opcode: 0x00, dwords: [0] }, 0x101],
    ['to delete a submission queue that does not exist', { opcode: 0x00, dwords: [3] }, 0x101],
    ['to delete completion queue 0', { opcode: 0x04, dwords: [0] }, 0x101],
    ['to delete a completion queue that does not exist', { opcode: 0x04, dwords: [300] }, 0x101],
  ])('refuse %s', async (_, submission, status) => {
    const { driver, page } = await enabled();
    const completion =
      submission.prp1 === undefined ? await page(submission) : await driver.command(submission);
    expect([completion.status, completion.retry]).toEqual([status, false]);
  });

  it('fail when their data is nowhere', async () => {
    const { driver } = await enabled();
    const { status, retry } = await driver.command({ opcode: 0x06, prp1: 0x8_0000_0000n, dwords: [1] });
    expect([status, retry]).toEqual([0x004, true]);
  });

  it('spread data over two pages', async () => {
    const { driver, guest } = await enabled();
    const [first, second] = [guest.allocate(4096) + 4096n - 768n, guest.allocate(4096)];
    const { status } = await driver.command({ opcode: 0x06, prp1: first, prp2: second, dwords: [1] });
    expect(status).toBe(0);
    expect(ascii(guest.at(first, 768), { at: 4, size: 4 })).toBe('TEST');
    expect(ascii(guest.at(second, 64), { at: 0, size: 8 }), 'the name, at byte 768').toBe('nqn.2014');
  });

  it('create and delete queues', async () => {
    const { driver } = await enabled();
    await driver.createPair(1, 16);
    await driver.createPair(64, 2, 64);
    const again = await driver.command({ opcode: 0x05, prp1: driver.guest.base, dwords: [0x00070001, 1] });
    expect(again.status, 'it exists').toBe(0x101);
    const twice = await driver.command({
      opcode: 0x01,
      prp1: driver.guest.base,
      dwords: [0x00070001, 0x00010001],
    });
    expect(twice.status, 'it exists').toBe(0x101);
    expect((await driver.command({ opcode: 0x04, dwords: [1] })).status, 'it is in use').toBe(0x10c);
    expect((await driver.command({ opcode: 0x00, dwords: [1] })).status).toBe(0);
    expect((await driver.command({ opcode: 0x04, dwords: [1] })).status).toBe(0);
    await driver.createPair(1, 4096);
  });

  it('create queues only with the entry sizes that CC names', async () => {
    const { driver } = await enabled();
    driver.write(0x14, 1);
    const completion = { opcode: 0x05, prp1: driver.guest.base, dwords: [0x00070001, 1] };
    const submission = { opcode: 0x01, prp1: driver.guest.base, dwords: [0x00070001, 0x00010001] };
    expect((await driver.command(completion)).status).toBe(0x102);
    driver.write(0x14, 0x00400001);
    expect((await driver.command(completion)).status).toBe(0);
    expect((await driver.command(submission)).status).toBe(0x102);
    driver.write(0x14, 0x00460001);
    expect((await driver.command(submission)).status).toBe(0);
  });

  it('give as many queues as were asked for, before there are any', async () => {
    const { driver } = await enabled();
    const set = (value: number) => driver.command({ opcode: 0x09, dwords: [0x07, value] });
    expect((await set(0x00010003)).result).toBe(0x00010003);
    expect((await set(0x01000200)).result, 'no more than there are').toBe(0x003f003f);
    expect((await set(0x00000001)).result).toBe(0x00000001);
    expect((await driver.command({ opcode: 0x0a, dwords: [0x07] })).result).toBe(0x00000001);
    const beyond = await driver.command({ opcode: 0x05, prp1: driver.guest.base, dwords: [0x00070002, 1] });
    expect(beyond.status).toBe(0x101);
    await driver.createPair(1, 4);
    expect((await set(0x00010001)).status).toBe(0x00c);
  });

  it.each<[string, number, number, number]>([
    ['arbitration', 0x01, 0x0a0b0c05, 0x0a0b0c05],
    ['temperature threshold', 0x04, 0x0150, 0x0150],
    ['interrupt coalescing', 0x08, 0x0305, 0x0305],
    ['write atomicity', 0x0a, 0x3, 0x1],
    ['asynchronous events', 0x0b, 0xffffff1f, 0x1f],
  ])('remember the feature %s', async (_, id, value, expected) => {
    const { driver } = await enabled();
    const get = (select: number) => driver.command({ opcode: 0x0a, dwords: [id | (select << 8)] });
    const before = (await get(0)).result;
    expect((await driver.command({ opcode: 0x09, dwords: [id, value] })).status).toBe(0);
    expect((await get(0)).result, 'current').toBe(expected);
    expect((await get(1)).result, 'default').toBe(before);
    expect((await get(2)).result, 'saved: none, so the default').toBe(before);
    expect((await get(3)).result, 'it can be changed').toBe(0x4);
  });

  it('remember features of the namespace and of each vector', async () => {
    const { driver } = await enabled();
    const set = (namespace: number, ...dwords: number[]) =>
      driver.command({ opcode: 0x09, namespace, dwords });
    const get = (namespace: number, ...dwords: number[]) =>
      driver.command({ opcode: 0x0a, namespace, dwords });
    await set(1, 0x05, 0x1234);
    expect((await get(1, 0x05)).result).toBe(0x1234);
    expect((await get(1, 0x305)).result, 'of a namespace').toBe(0x6);
    await set(0, 0x09, 0x10003);
    expect([(await get(0, 0x09, 3)).result, (await get(0, 0x09, 4)).result]).toEqual([0x10003, 4]);
    await set(0, 0x04, 0x00100100);
    expect((await get(0, 0x04)).result, 'the lower threshold is another one').toBe(0x157);
    expect((await set(0, 0x02, 0)).status, 'power state 0').toBe(0);
  });

  it('keep logs of health and firmware', async () => {
    const { driver, page } = await enabled();
    const pair = await driver.createPair(1, 8);
    const data = driver.guest.allocate(4096);
    await driver.on(pair, { opcode: 0x01, namespace: 1, prp1: data, dwords: [0, 0, 7] });
    for (let i = 0; i < 3; i++)
      await driver.on(pair, { opcode: 0x02, namespace: 1, prp1: data, dwords: [0, 0, 7] });
    const { view } = await page({ opcode: 0x02, namespace: 0xffffffff, dwords: [0x007f0002] });
    expect([view.getUint16(1, true), view.getUint8(3)]).toEqual([300, 100]);
    expect([32, 48, 64, 80].map((at) => view.getBigUint64(at, true))).toEqual([1n, 1n, 3n, 1n]);
    const part = await page({ opcode: 0x02, dwords: [0x00010002, 0, 64] });
    expect([part.view.getBigUint64(0, true), part.data[8]], 'two words of it').toEqual([3n, 0xee]);
    const firmware = await page({ opcode: 0x02, dwords: [0x007f0003] });
    expect([firmware.data[0], ascii(firmware.data, { at: 8, size: 8 })]).toEqual([1, '1.0'.padEnd(8)]);
    const changed = await page({ opcode: 0x02, dwords: [0x03ff0004] });
    expect(changed.data.every((byte) => byte === 0)).toBe(true);
  });

  it('keep a log of errors, the newest first', async () => {
    const { driver, page } = await enabled();
    const pair = await driver.createPair(1, 8);
    for (let i = 0; i < 20; i++) await driver.on(pair, { opcode: 0x02, namespace: 1, dwords: [9000 + i] });
    const { view, data } = await page({ opcode: 0x02, dwords: [0x00ff0001] });
    expect([0, 64, 15 * 64].map((at) => view.getBigUint64(at, true))).toEqual([20n, 19n, 5n]);
    expect([view.getUint16(8, true), view.getUint32(24, true), view.getBigUint64(16, true)]).toEqual([
      1,
      1,
      9019n,
    ]);
    expect(view.getUint16(12, true) >> 1, 'LBA out of range, do not retry').toBe(0x4080);
    expect(
      data.subarray(1024).every((byte) => byte === 0xee),
      'no more than was asked for',
    ).toBe(true);
  });

  it('answer Abort without aborting', async () => {
    const { driver } = await enabled();
    const { status, result } = await driver.command({ opcode: 0x08, dwords: [0x00050001] });
    expect([status, result]).toEqual([0, 1]);
  });

  it('abort an asynchronous event request', async () => {
    const { driver } = await enabled();
    const first = driver.admin.put({ opcode: 0x0c });
    const second = driver.admin.put({ opcode: 0x0c });
    driver.admin.put({ opcode: 0x08, dwords: [first << 16] });
    driver.admin.ring();
    const found: Completion[] = [];
    await driver.until(() => found.push(...driver.admin.reap()) === 2, 'both completions');
    expect(found.map(({ id, status, result }) => [id === first, status, result])).toEqual([
      [true, 0x007, 0],
      [false, 0, 0],
    ]);
    expect(second).not.toBe(first);
  });
});

describe('the admin command that deletes a queue', () => {
  const { make } = benches();

  it('waits for the commands in progress, and drops those that were not fetched', async () => {
    const backend = new ManualNamespace({ manual: ['read'] });
    const { driver } = make(MAPPED, { backend });
    await driver.enable();
    const pair = await driver.createPair(1, 64);
    for (let i = 0; i < 40; i++)
      pair.put({ opcode: 0x02, namespace: 1, prp1: driver.guest.allocate(4096), dwords: [0, 0, 7] });
    pair.ring();
    await settled();
    const started = backend.pending.length;
    expect(started).toBeGreaterThan(0);
    expect(started).toBeLessThan(40);
    backend.finish();
    await settled();
    const before = pair.reap().length;
    expect(before).toBe(started);
    const late = backend.pending.length;
    driver.admin.put({ opcode: 0x00, dwords: [1] });
    driver.admin.put({ opcode: 0x00, dwords: [1] });
    driver.admin.ring();
    await settled();
    expect(
      driver.admin.reap().map(({ status }) => status),
      'the second one comes too late',
    ).toEqual([0x101]);
    backend.finish();
    await settled();
    expect(pair.reap().length).toBe(late);
    expect(driver.admin.reap().map(({ status }) => status)).toEqual([0]);
  });
});

describe('storage with a volatile cache', () => {
  const { make } = benches();

  it('can have it switched off', async () => {
    const { driver, guest } = make(MAPPED, { backend: new ManualNamespace({ manual: [] }) });
    await driver.enable();
    const { view } = await withPage(driver, guest, { opcode: 0x06, dwords: [1] });
    expect(view.getUint8(525)).toBe(7);
    expect((await driver.command({ opcode: 0x0a, dwords: [0x06] })).result).toBe(1);
    expect((await driver.command({ opcode: 0x09, dwords: [0x06, 0] })).status).toBe(0);
    expect((await driver.command({ opcode: 0x0a, dwords: [0x06] })).result).toBe(0);
  });
});
