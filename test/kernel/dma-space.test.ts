import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { KernelDevice, mergeRanges, type OpenOptions } from '../../src/kernel/index.ts';
import { type FakeDevice, FakeKernel, type FakeKernelOptions } from './fake-kernel.ts';
import { opened } from './opened.ts';

const PAGE = 4096n;
const IOVA = 0x10_0000n;

/** A kernel and a device, reached in each way that there is. */
const WAYS = [
  ['a container', {}],
  ['iommufd', { iommufd: true }],
  ['iommufd that maps files', { iommufd: true, mapsFiles: true }],
] as const;

describe.each(WAYS)('memory given to a device by %s', (_, options) => {
  it('is reached where it was mapped, and not after it was taken back', async () => {
    const { kernel, fake, device } = await opened({}, options);
    const fd = kernel.memfd(8192);
    const mapping = await device.space.map({ iova: IOVA, size: PAGE, fd, offset: PAGE });
    expect(kernel.dmaWrite(fake, IOVA + 5n, 0x77)).toBe(true);
    expect(kernel.bytesOf(fd)[4096 + 5]).toBe(0x77);
    await device.space.unmap(mapping);
    expect(kernel.dmaWrite(fake, IOVA, 0x78)).toBe(false);
    expect(device.space.mappings).toEqual([]);
  });

  it('is not given up when the kernel does not take it from the device', async () => {
    const { kernel, fake, device } = await opened({}, { ...options, unmapFails: Errno.EIO });
    const mapping = await device.space.map({ iova: IOVA, size: PAGE, fd: kernel.memfd(4096) });
    await expect(device.space.unmap(mapping)).rejects.toMatchObject({ code: 'ERR_KERNEL_DMA' });
    // The fake throws when what is reached was given up.
    expect(kernel.dmaWrite(fake, IOVA, 1)).toBe(true);
    await device.dispose();
    expect(kernel.dmaWrite(fake, IOVA, 2)).toBe(true);
  });

  it('is taken back when the device is disposed of', async () => {
    const { kernel, fake, device } = await opened({}, options);
    for (const i of [0n, 1n, 2n]) {
      await device.space.map({ iova: IOVA + i * PAGE, size: PAGE, fd: kernel.memfd(4096) });
    }
    await device.dispose();
    expect(kernel.dmaWrite(fake, IOVA + PAGE, 1)).toBe(false);
    expect([...kernel.files.values()].every(({ kind }) => kind === 'memory')).toBe(true);
  });
});

describe('memory that the kernel does not map', () => {
  it('is given up again', async () => {
    const { kernel, device } = await opened({}, { mapFails: Errno.ENOMEM });
    const given: object[] = [];
    const { unmapForDma } = kernel;
    kernel.unmapForDma = (memory) => {
      given.push(memory);
      return unmapForDma.call(kernel, memory);
    };
    const attempt = device.space.map({ iova: IOVA, size: PAGE, fd: kernel.memfd(4096) });
    await expect(attempt).rejects.toMatchObject({
      errno: Errno.ENOMEM,
      message: expect.stringContaining('ulimit'),
    });
    expect(given).toHaveLength(1);
    expect(device.space.mappings).toEqual([]);
  });

  it.each([
    ['is not aligned', { iova: IOVA + 1n }, Errno.EINVAL],
    ['has no whole pages', { size: 100n }, Errno.EINVAL],
    ['begins inside of a page of its file', { offset: 8n }, Errno.EINVAL],
    ['has no size', { size: 0n }, Errno.EINVAL],
    ['goes beyond all addresses', { iova: (1n << 64n) - PAGE, size: 2n * PAGE }, Errno.EINVAL],
    ['is where messages of interrupts go', { iova: 0xfee0_0000n }, Errno.EINVAL],
    ['is higher than the IOMMU reaches', { iova: 1n << 40n }, Errno.EINVAL],
    ['could neither be read nor written', { readable: false, writable: false }, Errno.EINVAL],
    ['overlaps what is mapped', { iova: 0x20_0000n }, Errno.EEXIST],
  ])('because it %s is refused before', async (_, part, errno) => {
    const { kernel, device } = await opened();
    const fd = kernel.memfd(4 * 4096);
    await device.space.map({ iova: 0x1f_f000n, size: 2n * PAGE, fd });
    const attempt = device.space.map({ iova: IOVA, size: PAGE, fd, ...part });
    await expect(attempt).rejects.toMatchObject({ code: 'ERR_KERNEL_ARGUMENT', errno });
  });

  it('twice at a time is mapped once', async () => {
    const { kernel, device } = await opened();
    const request = { iova: IOVA, size: PAGE, fd: kernel.memfd(4096) };
    const results = await Promise.allSettled([device.space.map(request), device.space.map(request)]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });
});

/** A kernel with two devices in one group, and one in a group of its own. */
function groupOfTwo(options: FakeKernelOptions) {
  const kernel = new FakeKernel(options);
  const [one, two, other] = ['0000:00:05.0', '0000:00:05.1', '0000:00:06.0'].map((name, i) =>
    kernel.add(name, {}, i === 2 ? 1 : 0),
  );
  if (one === undefined || two === undefined || other === undefined) throw new Error('no devices');
  const open = (name: string, more: OpenOptions = {}): Promise<KernelDevice> =>
    KernelDevice.open(name, { system: kernel, sysfs: kernel.sysfs, ...more });
  return { kernel, fakes: [one, two, other] as const, open };
}

describe.each(WAYS)('several devices of one process, by %s', (_, options) => {
  it('of one group reach the same memory, which is mapped once for all of them', async () => {
    const { kernel, fakes, open } = groupOfTwo(options);
    const [a, b] = [await open(fakes[0].name), await open(fakes[1].name)];
    const request = { iova: IOVA, size: PAGE, fd: kernel.memfd(4096) };
    const mine = await a.space.map(request);
    expect(kernel.dmaWrite(fakes[1], IOVA, 1)).toBe(true);
    await b.space.map(request);
    await expect(b.space.map({ ...request, fd: kernel.memfd(4096) })).rejects.toMatchObject({
      errno: Errno.EEXIST,
    });
    await a.space.unmap(mine);
    expect(kernel.dmaWrite(fakes[0], IOVA, 1)).toBe(true);
    await expect(a.space.unmap(mine)).rejects.toMatchObject({ code: 'ERR_KERNEL_ARGUMENT' });
    await b.dispose();
    expect(kernel.dmaWrite(fakes[0], IOVA, 1)).toBe(false);
    await a.dispose();
    expect([...kernel.files.values()].every(({ kind }) => kind === 'memory')).toBe(true);
  });

  it('lose only what they have mapped themselves when they are disposed of', async () => {
    const { kernel, fakes, open } = groupOfTwo(options);
    const [a, b] = [await open(fakes[0].name), await open(fakes[1].name)];
    await a.space.map({ iova: IOVA, size: PAGE, fd: kernel.memfd(4096) });
    await b.space.map({ iova: IOVA + PAGE, size: PAGE, fd: kernel.memfd(4096) });
    await a.dispose();
    expect([0n, PAGE].map((at) => kernel.dmaWrite(fakes[1], IOVA + at, 1))).toEqual([false, true]);
    await b.dispose();
  });

  it('do not keep what a device had mapped that was closed without more ado', async () => {
    const { kernel, fakes, open } = groupOfTwo(options);
    const [a, b] = [await open(fakes[0].name), await open(fakes[1].name)];
    await a.space.map({ iova: IOVA, size: PAGE, fd: kernel.memfd(4096) });
    a.close();
    await b.space.map({ iova: IOVA, size: PAGE, fd: kernel.memfd(4096) });
    await b.dispose();
    expect(kernel.dmaWrite(fakes[1], IOVA, 1)).toBe(false);
  });

  it('of several groups have memory of their own, or share it when told so', async () => {
    const { kernel, fakes, open } = groupOfTwo(options);
    const a = await open(fakes[0].name);
    const alone = await open(fakes[2].name);
    await a.space.map({ iova: IOVA, size: PAGE, fd: kernel.memfd(4096) });
    expect(kernel.dmaWrite(fakes[2], IOVA, 1)).toBe(false);
    await expect(open(fakes[1].name, { beside: alone })).rejects.toMatchObject({
      ...{ code: 'ERR_KERNEL_BUSY', message: expect.stringContaining('otherwise') },
    });
    await alone.dispose();
    const beside = await open(fakes[2].name, { beside: a });
    await a.space.map({ iova: IOVA + PAGE, size: PAGE, fd: kernel.memfd(4096) });
    expect(kernel.dmaWrite(fakes[2], IOVA + PAGE, 1)).toBe(true);
    await a.dispose();
    await beside.dispose();
    expect([...kernel.files.values()].every(({ kind }) => kind === 'memory')).toBe(true);
  });

  it('are opened once each', async () => {
    const { fakes, open } = groupOfTwo(options);
    const a = await open(fakes[0].name);
    await expect(open(fakes[0].name)).rejects.toMatchObject({ code: 'ERR_KERNEL_BUSY' });
    a.close();
    (await open(fakes[0].name)).close();
  });
});

describe('written pages', () => {
  const write = (kernel: FakeKernel, fake: FakeDevice): boolean => kernel.dmaWrite(fake, IOVA + 2n * PAGE, 1);

  it('are told by the container, for all its devices', async () => {
    const { kernel, fake, device } = await opened();
    await device.space.map({ iova: IOVA, size: 16n * PAGE, fd: kernel.memfd(65536) });
    await device.container?.trackDirty(true);
    write(kernel, fake);
    const bitmap = await device.container?.dirtyBitmap(IOVA, 16n * PAGE, PAGE);
    expect([...(bitmap ?? [])]).toEqual([4, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('are told by a device that logs, in the page size that its driver chose', async () => {
    const { kernel, fake, device } = await opened({ logging: 'yes' });
    await device.space.map({ iova: IOVA, size: 16n * PAGE, fd: kernel.memfd(65536) });
    expect(await device.startDmaLogging(PAGE, [])).toBe(8192n);
    expect(fake.driver.logged?.ranges).toEqual([{ iova: IOVA, length: 16n * PAGE }]);
    write(kernel, fake);
    expect([...(await device.dmaLog(IOVA, 16n * PAGE, PAGE))]).toEqual([4, 0, 0, 0, 0, 0, 0, 0]);
    expect([...(await device.dmaLog(IOVA, 16n * PAGE, PAGE))]).toEqual(new Array(8).fill(0));
    await device.stopDmaLogging();
    await expect(device.dmaLog(IOVA, PAGE, PAGE)).rejects.toMatchObject({ errno: Errno.EINVAL });
  });

  it('are all of them where a kernel has no reports', async () => {
    const { device } = await opened({ logging: 'no report' });
    await device.startDmaLogging(PAGE, [{ iova: 0n, length: PAGE }]);
    expect([...(await device.dmaLog(0n, PAGE, PAGE))]).toEqual(new Array(8).fill(0xff));
  });

  it('are not logged by a driver that can not', async () => {
    const { device } = await opened({ logging: 'none' });
    const attempt = device.startDmaLogging(PAGE, [{ iova: 0n, length: PAGE }]);
    await expect(attempt).rejects.toMatchObject({ code: 'ERR_KERNEL_LACKS' });
  });

  it('are not logged where nothing is mapped: a driver takes no empty list', async () => {
    const { device, fake } = await opened({ logging: 'yes' });
    await expect(device.startDmaLogging(PAGE, [])).rejects.toMatchObject({ code: 'ERR_KERNEL_ARGUMENT' });
    expect(fake.driver.logged).toBe(null);
  });

  it('are logged in no more ranges than a driver has to take', async () => {
    const { device, fake } = await opened({ logging: 'yes' });
    const ranges = Array.from({ length: 300 }, (_, i) => ({ iova: BigInt(i) * 0x10000n, length: PAGE }));
    await device.startDmaLogging(PAGE, ranges);
    expect(fake.driver.logged?.ranges).toHaveLength(256);
  });
});

describe('ranges', () => {
  it('that touch or overlap become one, and gaps are closed from the smallest on', () => {
    const ranges = [
      { iova: 100n, length: 10n },
      { iova: 0n, length: 10n },
      { iova: 10n, length: 5n },
      { iova: 105n, length: 10n },
      { iova: 17n, length: 3n },
    ];
    expect(mergeRanges(ranges, 3)).toEqual([
      { iova: 0n, length: 15n },
      { iova: 17n, length: 3n },
      { iova: 100n, length: 15n },
    ]);
    expect(mergeRanges(ranges, 2)).toEqual([
      { iova: 0n, length: 20n },
      { iova: 100n, length: 15n },
    ]);
  });
});
