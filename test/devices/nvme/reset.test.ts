import { describe, expect, it } from 'vitest';
import { settled } from './driver.ts';
import { ManualNamespace } from './manual-namespace.ts';
import { type Bench, benches, MAPPED, MESSAGE } from './setup.ts';

const READ = 0x02;

describe('a controller that is busy', () => {
  const { make } = benches();

  /** A controller with `count` reads in progress. */
  async function busy(count: number, way = MAPPED) {
    const backend = new ManualNamespace({ manual: ['read'] });
    backend.bytes.fill(0x5a);
    const bench = make(way, { backend });
    await bench.driver.enable();
    const pair = await bench.driver.createPair(1, 64);
    for (let i = 0; i < count; i++)
      pair.put({ opcode: READ, namespace: 1, prp1: bench.guest.base + BigInt(i * 512), dwords: [i, 0, 0] });
    pair.ring();
    for (let i = 0; i < 5; i++) await settled();
    expect(backend.pending.length).toBe(Math.min(count, 32));
    return { ...bench, backend, pair };
  }

  async function usable({ driver }: Bench) {
    await driver.enable();
    const pair = await driver.createPair(1, 8);
    expect(pair.reap()).toEqual([]);
    expect((await driver.on(pair, { opcode: 0, namespace: 1 })).status).toBe(0);
  }

  it.each([MAPPED, MESSAGE])(
    'stays ready until everything has ended, and completes none of it ($name)',
    async (way) => {
      const bench = await busy(50, way);
      const { driver, backend, pair } = bench;
      driver.write(0x14, 0x00460000);
      await settled();
      expect(driver.status).toBe(1);
      expect(backend.pending.length).toBe(32);
      backend.finish();
      await driver.until(() => driver.status === 0, 'the reset');
      expect(backend.pending, 'what was not fetched is forgotten').toEqual([]);
      expect(pair.reap({ quietly: true })).toEqual([]);
      await usable(bench);
    },
  );

  it('leaves guest memory alone once it is not ready any more', async () => {
    const { driver, backend, guest } = await busy(10);
    await driver.disable().catch(() => {});
    expect(driver.status, 'not yet').toBe(1);
    backend.finish();
    await driver.until(() => driver.status === 0, 'the reset');
    const before = guest.bytes.slice();
    for (let i = 0; i < 10; i++) await settled();
    expect(Buffer.compare(before, guest.bytes)).toBe(0);
  }, 20_000);

  it('enables itself after a reset that was not waited for', async () => {
    const bench = await busy(10);
    const { driver, backend } = bench;
    driver.write(0x14, 0x00460000);
    driver.write(0x14, 0x00460001);
    await settled();
    backend.finish();
    await driver.until(() => backend.begun.get('resume') === 2, 'the second start');
    bench.driver.admin.clear();
    expect(driver.status).toBe(1);
    expect((await driver.command({ opcode: 0x0a, dwords: [0x07] })).result).toBe(0x003f003f);
  });

  it.each([MAPPED, MESSAGE])('is reset with its device ($name)', async (way) => {
    const bench = await busy(20, way);
    const { served, backend, driver } = bench;
    const reset = served.reset();
    await settled();
    backend.finish();
    await reset;
    expect(driver.status).toBe(0);
    expect([driver.read(0x14), driver.read(0x28, 8)]).toEqual([0n, 0n]);
    await usable(bench);
  });

  it('is reset with its device while messages are not answered', async () => {
    const bench = make(MESSAGE);
    const { driver, guest, served } = bench;
    await driver.enable();
    const pair = await driver.createPair(1, 64);
    guest.port.manual = true;
    for (let i = 0; i < 10; i++)
      pair.put({ opcode: READ, namespace: 1, prp1: guest.base + BigInt(i * 512), dwords: [i, 0, 0] });
    pair.ring();
    await settled();
    expect(guest.port.waiting.length).toBeGreaterThan(0);
    await served.reset();
    expect([driver.status, bench.device.state.csts]).toEqual([0, 0]);
  });

  it('keeps the contents of its RAM and its identity through a reset', async () => {
    const bench = make(MAPPED);
    const { device, served } = bench;
    device.state.ram?.fill(0x77, 0, 4096);
    const serial = device.state.serial.slice();
    await served.reset();
    expect(device.state.ram?.bytes[4095]).toBe(0x77);
    expect(device.state.serial).toEqual(serial);
    expect(device.state.blocks).toBe(8192n);
  });
});
