import { describe, expect, it } from 'vitest';
import { NvmeDevice } from '../../../src/devices/index.ts';
import { IrqIndex, RegionIndex } from '../../../src/protocol/index.ts';
import { peek, poke } from '../../helpers/fake-host.ts';
import { settled } from './driver.ts';
import { ManualNamespace } from './manual-namespace.ts';
import { benches, MAPPED, WAYS } from './setup.ts';

const READY = 1;
const FATAL = 2;
const ENABLE = 0x00460001;

describe('the registers of the controller', () => {
  const { make } = benches();

  it('are those of an NVM Express 1.4 controller', () => {
    const { driver, served } = make(MAPPED);
    expect(driver.read(0x00, 8), 'CAP').toBe(0x0040_0020_f001_0fffn);
    expect(driver.read(0x00), 'its low half').toBe(0xf0010fffn);
    expect(driver.read(0x04), 'its high half').toBe(0x00400020n);
    expect(driver.read(0x08), 'VS').toBe(0x00010400n);
    const config = served.regions[RegionIndex.CONFIG];
    expect(peek(config, 0x08) >> 8n, 'class').toBe(0x010802n);
    poke(config, 0x10, 0xffffffff);
    expect(peek(config, 0x10), '16 KiB, 64 bits').toBe(0xffffc004n);
    expect(
      [IrqIndex.INTX, IrqIndex.MSI, IrqIndex.MSIX].map((index) => served.interrupts.info(index).count),
    ).toEqual([1, 0, 65]);
  });

  it('takes 64-bit addresses in one piece and in two', () => {
    const { driver } = make(MAPPED);
    driver.write(0x28, 0x1234_5678_9abc_d123n, 8);
    expect(driver.read(0x28, 8), 'the page').toBe(0x1234_5678_9abc_d000n);
    driver.write(0x30, 0x89abc000);
    driver.write(0x34, 0x4567);
    expect([driver.read(0x30, 8), driver.read(0x34)]).toEqual([0x4567_89ab_c000n, 0x4567n]);
  });

  it('keeps what does not exist at 0', () => {
    const { driver } = make(MAPPED);
    driver.write(0x24, 0xffffffff);
    driver.write(0x14, 0xfffffffe);
    expect([driver.read(0x24), driver.read(0x14)]).toEqual([0x0fff0fffn, 0x00fffff0n]);
    driver.write(0x1c, 0xffffffff);
    expect(driver.status & READY, 'CSTS is read-only').toBe(0);
  });

  it('sets and clears interrupt masks', () => {
    const { driver } = make(MAPPED);
    driver.write(0x0c, 0x80000005);
    driver.write(0x10, 0x1);
    expect([driver.read(0x0c), driver.read(0x10)]).toEqual([0x80000004n, 0x80000004n]);
  });
});

describe.each(WAYS)('a controller that is enabled ($name)', (way) => {
  const { make } = benches();

  it('is ready, and not any more when it is disabled', async () => {
    const { driver } = make(way);
    await driver.enable();
    expect(driver.status).toBe(READY);
    await driver.disable();
    expect(driver.status).toBe(0);
    await driver.enable();
    expect((await driver.command({ opcode: 0x0a, dwords: [0x07] })).result).toBe(0x003f003f);
  });

  it.each<[string, number, number, bigint, bigint]>([
    ['another command set', ENABLE | 0x10, 0x001f001f, 0n, 0n],
    ['another arbitration', ENABLE | 0x800, 0x001f001f, 0n, 0n],
    ['pages above 64 KiB', ENABLE | (5 << 7), 0x001f001f, 0n, 0n],
    ['a submission queue of one entry', ENABLE, 0x001f0000, 0n, 0n],
    ['a completion queue of one entry', ENABLE, 0x0000001f, 0n, 0n],
    ['a submission queue that is not aligned to its pages', ENABLE | (1 << 7), 0x001f001f, 4096n, 0n],
    ['a completion queue that is not aligned to its pages', ENABLE | (1 << 7), 0x001f001f, 0n, 4096n],
  ])('fails for %s, until it is disabled', async (_, configuration, attributes, submission, completion) => {
    const { driver } = make(way);
    driver.write(0x24, attributes);
    driver.write(0x28, 0x1_0000_0000n + submission, 8);
    driver.write(0x30, 0x1_0000_0000n + completion, 8);
    driver.write(0x14, configuration);
    await settled();
    expect(driver.status).toBe(FATAL);
    await driver.disable();
    expect(driver.status).toBe(0);
    await driver.enable();
    expect(driver.status).toBe(READY);
  });

  it('fails when its queues are nowhere', async () => {
    const { driver } = make(way);
    driver.write(0x24, 0x001f001f);
    driver.write(0x28, 0x8_0000_0000n, 8);
    driver.write(0x30, 0x8_0000_0000n, 8);
    driver.write(0x14, ENABLE);
    await settled();
    expect(driver.status).toBe(READY);
    driver.write(0x1000, 1);
    await settled();
    expect(driver.status).toBe(READY | FATAL);
    await driver.disable();
    expect(driver.status).toBe(0);
  });

  it('shuts down', async () => {
    const { driver } = make(way);
    await driver.enable();
    driver.write(0x14, ENABLE | (1 << 14));
    await settled();
    expect(driver.status).toBe(READY | 0x8);
    await driver.disable();
    await driver.enable();
    expect(driver.status).toBe(READY);
  });

  it('forgets queues, features and masks when it is disabled', async () => {
    const { driver } = make(way);
    await driver.enable();
    await driver.createPair(1, 8);
    await driver.command({ opcode: 0x09, dwords: [0x0b, 0x1f] });
    driver.write(0x0c, 0xff);
    await driver.disable();
    expect(driver.read(0x0c)).toBe(0n);
    await driver.enable();
    expect((await driver.command({ opcode: 0x0a, dwords: [0x0b] })).result).toBe(0);
    await driver.createPair(1, 8);
  });

  it('works with larger memory pages', async () => {
    const { driver, guest } = make(way);
    const page = guest.allocate(3 * 65536);
    const aligned = (page + 65535n) & ~65535n;
    driver.write(0x24, 0x001f001f);
    driver.write(0x28, aligned, 8);
    driver.write(0x30, aligned + 65536n, 8);
    driver.write(0x14, ENABLE | (4 << 7));
    await settled();
    guest.view(aligned, 64).setUint8(0, 0x0a);
    guest.view(aligned, 64).setUint8(40, 0x07);
    driver.write(0x1000, 1);
    await settled();
    expect(guest.view(aligned + 65536n, 4).getUint32(0, true)).toBe(0x003f003f);
  });
});

describe('a controller whose storage takes time', () => {
  const { make } = benches();

  it('is ready when the storage is', async () => {
    const backend = new ManualNamespace();
    const { driver } = make(MAPPED, { backend });
    const enabled = driver.enable();
    await settled();
    expect(driver.status).toBe(0);
    backend.finish('resume');
    await enabled;
    expect(driver.status).toBe(READY);
  });

  it('fails when the storage is not to be had', async () => {
    const backend = new ManualNamespace();
    const { driver, host } = make(MAPPED, { backend });
    const enabled = driver.enable();
    await settled();
    backend.refuse('resume');
    await enabled;
    expect(driver.status).toBe(FATAL);
    await settled();
    expect(
      host.reported.map(({ code }) => code),
      'whoever runs the server learns why',
    ).toEqual(['ERR_DEVICE_CALLBACK']);
  });

  it('stays disabled when it is disabled before the storage is there', async () => {
    const backend = new ManualNamespace();
    const { driver } = make(MAPPED, { backend });
    driver.write(0x24, 0x001f001f);
    driver.write(0x14, ENABLE);
    driver.write(0x14, 0);
    backend.finish('resume');
    await settled();
    expect(driver.status).toBe(0);
  });

  it('has shut down when everything is durable', async () => {
    const backend = new ManualNamespace({ manual: ['flush'] });
    const { driver } = make(MAPPED, { backend });
    await driver.enable();
    driver.write(0x14, ENABLE | (2 << 14));
    await settled();
    expect(driver.status).toBe(READY | 0x4);
    backend.finish('flush');
    await settled();
    expect(driver.status).toBe(READY | 0x8);
  });
});

describe('an NVMe device', () => {
  it.each(['', ' A', 'A ', 'Ä', 'A'.repeat(21)])('refuses the serial number "%s"', (serial) => {
    expect(() => new NvmeDevice({ ram: 4096, serial })).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_DECLARATION' }),
    );
  });

  it('refuses storage that takes time where the device may not', () => {
    expect(() => new NvmeDevice({ backend: new ManualNamespace(), asynchronous: false })).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_ASYNCHRONOUS' }),
    );
  });
});
