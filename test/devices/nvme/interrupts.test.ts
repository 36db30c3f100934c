import { describe, expect, it } from 'vitest';
import { IrqIndex } from '../../../src/protocol/index.ts';
import { listen } from '../../helpers/fake-host.ts';
import { enableMsix, settled } from './driver.ts';
import { benches, MAPPED, MESSAGE, WAYS } from './setup.ts';

const READ = 0x02;

describe.each(WAYS)('MSI-X ($name)', (way) => {
  const { make } = benches();

  it('signals a vector once for all commands that end together', async () => {
    const { driver, served, guest } = make(way);
    enableMsix(served);
    const signals = [0, 1, 7].map((vector) => listen(served, IrqIndex.MSIX, vector));
    await driver.enable();
    const one = await driver.createPair(1, 32, 1);
    const seven = await driver.createPair(2, 32, 7);
    const silent = await driver.createPair(3, 32, 1, false);
    expect(signals[0]?.(), 'one for each admin command').toBe(6);
    for (const pair of [one, seven, silent]) {
      for (let i = 0; i < 5; i++) pair.put({ opcode: READ, namespace: 1, prp1: guest.base });
    }
    one.ring();
    await driver.until(() => one.reap().length > 0, 'completions');
    await settled();
    expect(signals[1]?.()).toBeGreaterThanOrEqual(1);
    expect(signals[1]?.()).toBeLessThanOrEqual(way === MESSAGE ? 5 : 1);
    const before = signals[1]?.();
    silent.ring();
    await driver.until(() => silent.reap().length > 0, 'completions');
    await settled();
    expect([signals[1]?.(), signals[2]?.()], 'without interrupts').toEqual([before, 0]);
    seven.ring();
    await driver.until(() => seven.reap().length > 0, 'completions');
    await settled();
    expect(signals[2]?.()).toBeGreaterThanOrEqual(1);
    expect(served.interrupts.level).toBe(false);
  });

  it('comes after the completion is in memory', async () => {
    const { driver, served, guest } = make(way);
    enableMsix(served);
    await driver.enable();
    const pair = await driver.createPair(1, 32, 1);
    const seen: number[] = [];
    served.interrupts.setTriggers(IrqIndex.MSIX, 1, [() => seen.push(pair.reap({ quietly: true }).length)]);
    pair.put({ opcode: READ, namespace: 1, prp1: guest.base });
    pair.ring();
    await driver.until(() => seen.length > 0, 'the interrupt');
    expect(seen).toEqual([1]);
  });
});

describe.each(WAYS)('INTx ($name)', (way) => {
  const { make } = benches();

  async function ready() {
    const bench = make(way);
    await bench.driver.enable();
    const pair = await bench.driver.createPair(1, 32, 0);
    const read = async () => {
      pair.put({ opcode: READ, namespace: 1, prp1: bench.guest.base });
      pair.ring();
      for (let i = 0; i < 5; i++) await settled();
    };
    return { ...bench, pair, read };
  }

  it('stays asserted until the guest has taken everything', async () => {
    const { served, pair, read } = await ready();
    expect(served.interrupts.level).toBe(false);
    await read();
    await read();
    expect(served.interrupts.level).toBe(true);
    pair.reap({ quietly: true, limit: 1 });
    pair.acknowledge();
    expect(served.interrupts.level).toBe(true);
    pair.reap({ quietly: true });
    pair.acknowledge();
    expect(served.interrupts.level).toBe(false);
  });

  it('is masked by INTMS, and comes back with INTMC', async () => {
    const { served, pair, read, driver } = await ready();
    driver.write(0x0c, 1);
    await read();
    expect(served.interrupts.level).toBe(false);
    driver.write(0x10, 1);
    expect(served.interrupts.level).toBe(true);
    driver.write(0x0c, 1);
    expect(served.interrupts.level).toBe(false);
    driver.write(0x10, 1);
    pair.reap();
    expect(served.interrupts.level).toBe(false);
  });

  it('is deasserted when queues go', async () => {
    const { served, read, driver } = await ready();
    await read();
    expect((await driver.command({ opcode: 0x00, dwords: [1] })).status).toBe(0);
    expect(served.interrupts.level).toBe(true);
    expect((await driver.command({ opcode: 0x04, dwords: [1] })).status).toBe(0);
    expect(served.interrupts.level).toBe(false);
    await driver.createPair(1, 8, 0);
    await read();
    await driver.disable();
    expect(served.interrupts.level).toBe(false);
  });
});

describe('INTx of a guest that looks into its queue before it is told', () => {
  const { make } = benches();

  it('is not asserted when there is nothing left to take', async () => {
    const { driver, served, guest } = make(MESSAGE);
    await driver.enable();
    const pair = await driver.createPair(1, 32, 0);
    guest.port.manual = true;
    pair.put({ opcode: 0, namespace: 1 });
    pair.ring();
    guest.port.answer();
    await settled();
    guest.port.answer();
    expect(pair.reap(), 'the entry is there, and its message not yet known to be answered').toHaveLength(1);
    await settled();
    expect(served.interrupts.level).toBe(false);
  });
});

describe('INTx of a guest that has taken all that it can see', () => {
  const { make } = benches();

  it('is deasserted until the message with the next entry has landed', async () => {
    const { driver, served, guest } = make(MESSAGE);
    await driver.enable();
    const pair = await driver.createPair(1, 32, 0);
    pair.put({ opcode: 0, namespace: 1 });
    pair.ring();
    for (let i = 0; i < 5; i++) await settled();
    expect(served.interrupts.level).toBe(true);
    guest.port.manual = true;
    pair.put({ opcode: 0, namespace: 1 });
    pair.ring();
    guest.port.answer();
    await settled();
    expect(guest.port.waiting, 'the entry is on its way').toHaveLength(1);
    expect(pair.reap({ quietly: true })).toHaveLength(1);
    pair.acknowledge();
    expect(served.interrupts.level).toBe(false);
    guest.port.answer();
    await settled();
    expect(served.interrupts.level).toBe(true);
    expect(pair.reap()).toHaveLength(1);
    expect(served.interrupts.level).toBe(false);
  });
});

describe('interrupts of a controller that was reset', () => {
  const { make } = benches();

  it('are gone', async () => {
    const { served, driver, guest } = make(MAPPED);
    await driver.enable();
    const pair = await driver.createPair(1, 8, 0);
    pair.put({ opcode: READ, namespace: 1, prp1: guest.base });
    pair.ring();
    expect(served.interrupts.level).toBe(true);
    await served.reset();
    expect([served.interrupts.level, driver.status]).toEqual([false, 0]);
  });
});
