import { describe, expect, it } from 'vitest';
import { settled } from './driver.ts';
import { benches, MAPPED, WAYS } from './setup.ts';

const INVALID_REGISTER = 0x00010000;
const INVALID_VALUE = 0x00010100;

describe.each(WAYS)('asynchronous events ($name)', (way) => {
  const { make } = benches();

  async function ready() {
    const bench = make(way);
    await bench.driver.enable();
    const { driver, guest } = bench;
    const request = () => {
      const id = driver.admin.put({ opcode: 0x0c });
      driver.admin.ring();
      return id;
    };
    const readErrorLog = (retain = 0) =>
      driver.command({ opcode: 0x02, prp1: guest.base, dwords: [0x000f0001 | (retain << 15)] });
    return { ...bench, request, readErrorLog };
  }

  it.each<[string, number, number, number]>([
    ['the tail of a queue that does not exist', 0x1000 + 8 * 5, 1, INVALID_REGISTER],
    ['the head of a queue that does not exist', 0x1004 + 8 * 64, 0, INVALID_REGISTER],
    ['a tail behind the end', 0x1000, 32, INVALID_VALUE],
    ['a tail of many bits', 0x1000, 0xffff0001, INVALID_VALUE],
    ['a head behind the end', 0x1004, 32, INVALID_VALUE],
    ['a head before which nothing was posted', 0x1004, 5, INVALID_VALUE],
  ])('tell of a doorbell with %s', async (_, doorbell, value, result) => {
    const { driver, request, guest } = await ready();
    const id = request();
    await settled();
    expect(driver.admin.reap()).toEqual([]);
    driver.write(doorbell, value);
    await driver.until(() => {
      const [event] = driver.admin.reap();
      if (event !== undefined) expect([event.id, event.status, event.result]).toEqual([id, 0, result]);
      return event !== undefined;
    }, 'the event');
    expect(driver.status).toBe(1);
    await driver.command({ opcode: 0x02, prp1: guest.base, dwords: [0x000f0001] });
    expect(guest.view(guest.base, 64).getUint16(8, true), 'the queue').toBe((doorbell - 0x1000) >> 3);
    expect(guest.view(guest.base, 64).getUint16(10, true), 'no command').toBe(0xffff);
  });

  it('wait for a request, and for the log to be read', async () => {
    const { driver, request, readErrorLog } = await ready();
    driver.write(0x1028, 1);
    driver.write(0x1000, 99);
    const first = request();
    const second = request();
    await settled();
    await settled();
    const events = driver.admin.reap();
    expect(events.map(({ id, result }) => [id, result])).toEqual([[first, INVALID_REGISTER]]);
    await readErrorLog(1);
    await settled();
    expect(driver.admin.reap(), 'that reading retained the event').toEqual([]);
    const id = driver.admin.put({ opcode: 0x02, prp1: driver.guest.base, dwords: [0x000f0001] });
    driver.admin.ring();
    const found: number[][] = [];
    await driver.until(
      () => found.push(...driver.admin.reap().map((one) => [one.id, one.result])) === 2,
      'the log and the event',
    );
    expect(found).toEqual([
      [id, 0],
      [second, INVALID_VALUE],
    ]);
  });

  it('have room for four requests', async () => {
    const { driver } = await ready();
    const ids = [0, 1, 2, 3, 4].map(() => driver.admin.put({ opcode: 0x0c }));
    driver.admin.ring();
    const found: unknown[] = [];
    await driver.until(
      () => found.push(...driver.admin.reap().map(({ id, status }) => [id, status])) === 1,
      'the refusal',
    );
    expect(found).toEqual([[ids[4], 0x105]]);
  });

  it('do not outlive a reset of the controller', async () => {
    const { driver, request } = await ready();
    request();
    await settled();
    await driver.disable();
    await driver.enable();
    driver.write(0x1028, 1);
    await settled();
    expect(driver.admin.reap()).toEqual([]);
    const id = request();
    await driver.until(() => driver.admin.reap()[0]?.id === id, 'the event');
  });
});

describe('doorbells', () => {
  const { make } = benches();

  it('mean nothing while the controller is disabled', async () => {
    const { driver, device } = make(MAPPED);
    for (let id = 0; id <= 64; id++) {
      driver.write(0x1000 + 8 * id, 1);
      driver.write(0x1004 + 8 * id, 1);
    }
    await settled();
    expect([device.state.errors, device.state.eventsPending, driver.status]).toEqual([0n, 0, 0]);
  });

  it('survive anything that is written to them and to all other registers', async () => {
    const { driver, host } = make(MAPPED);
    await driver.enable();
    await driver.createPair(1, 16);
    let seed = 12345;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % below;
    };
    for (let i = 0; i < 5000; i++) {
      const width = [1, 2, 4, 8][random(4)] ?? 4;
      const offset = random(3) === 0 ? random(0x40) : 0x1000 + random(0x210);
      driver.write(offset, BigInt(random(2 ** 24)) * BigInt(random(2 ** 24)), width);
      driver.read(offset, width);
    }
    await settled();
    expect(host.reported).toEqual([]);
    driver.write(0x14, 0);
    await settled();
    await driver.enable();
    expect((await driver.command({ opcode: 0x0a, dwords: [0x07] })).result).toBe(0x003f003f);
  });
});
