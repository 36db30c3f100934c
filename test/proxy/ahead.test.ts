import { afterEach, describe, expect, it } from 'vitest';
import type { SwapReport } from '../../src/proxy/index.ts';
import { fields, RawClient, rawMessage } from '../helpers/raw-client.ts';
import { Bench, Register, SOON } from './bench.ts';

const EBUSY = 16;
const ENOMSG = 42;
const MSIX = 2;
const IOVA = 0x10_0000;
const PAGE = 4096n;
const DEVICE_STATE = 2;

let bench: Bench;
afterEach(() => bench.close());

/** Begins a swap, which has copied a part of the state and waits; `finish` lets it go on. */
async function beginSwap(): Promise<{ finish: () => Promise<SwapReport | null> }> {
  const { saboteur } = bench.fresh;
  saboteur.target = { command: 18, nth: 1, how: 'wait' };
  const swapped = bench.proxy.swap(bench.fresh.path);
  swapped.catch(() => {});
  await expect.poll(() => saboteur.release, SOON).not.toBeNull();
  return {
    finish: () => {
      saboteur.target = null;
      saboteur.release?.();
      return swapped;
    },
  };
}

describe('while the state is copied ahead', () => {
  it('the client goes on, and what it writes is in the state', async () => {
    bench = await Bench.open();
    const swap = await beginSwap();
    await bench.write(0, Register.SCRATCH, 0x4321);
    await bench.expectDma('on the old one');
    expect(bench.proxy.status()).toMatchObject({ state: 'swapping', heldCommands: 0 });
    const report = await swap.finish();
    expect(report?.aheadBytes).toBeGreaterThan(0);
    expect(report?.stateBytes).toBeGreaterThan(report?.aheadBytes ?? 0);
    expect(bench.fresh.device.state.scratch).toBe(0x4321);
    await bench.expectDma('on the new one');
  });

  it('what it maps and takes back is told to the new one', async () => {
    bench = await Bench.open();
    const swap = await beginSwap();
    await bench.ask(3, fields(24, 0, BigInt(IOVA), PAGE));
    await bench.ask(3, fields(24, 0, 0x8000_0000n, PAGE));
    await bench.ask(2, fields(32, 3, 0n, BigInt(IOVA), PAGE), [bench.memory]);
    await bench.ask(2, fields(32, 3, 0n, 0x9000_0000n, PAGE));
    await bench.ask(2, fields(32, 3, 0n, 0xa000_0000n, PAGE));
    expect(bench.fresh.served.server.memory.mapCount).toBe(2);
    expect(await swap.finish()).toMatchObject({ dmaMaps: 3 });
    expect(bench.fresh.served.server.memory.mapCount).toBe(3);
    await bench.expectDma('through the new map');
  });

  it('what it changes of interrupts is set up anew, and what it takes back is gone', async () => {
    bench = await Bench.open();
    const swap = await beginSwap();
    expect(bench.fresh.served.server.eventfds.count(MSIX)).toBe(1);
    await bench.ask(8, fields(20, 0x21, MSIX, 0, 0));
    await swap.finish();
    expect(bench.fresh.served.server.eventfds.count(MSIX)).toBe(0);
    await bench.ask(8, fields(20, 0x24, MSIX, 1, 1), [bench.eventfd]);
    await bench.expectDma('with another eventfd');
  });

  it('it is not let migrate the device itself, but may ask whether it could', async () => {
    bench = await Bench.open();
    const swap = await beginSwap();
    const stop = fields(16, 0x2_0000 | DEVICE_STATE, 1, 0xffff_ffff);
    expect(await bench.client.request(16, stop)).toMatchObject({ error: EBUSY });
    expect(await bench.client.request(17, fields(4104, 4096))).toMatchObject({ error: EBUSY });
    expect(await bench.client.request(16, fields(16, 0x6_0000 | DEVICE_STATE))).toMatchObject({ error: 0 });
    await swap.finish();
    expect(await bench.client.request(16, stop), 'afterwards it is').toMatchObject({ error: 0 });
  });

  it('a reset of the device makes what was copied worthless: the old one serves on', async () => {
    bench = await Bench.open();
    const swap = await beginSwap();
    await bench.ask(13);
    const failed = await swap.finish().catch((reason: unknown) => reason);
    expect(failed).toMatchObject({ code: 'ERR_SWAP_FAILED' });
    await bench.write(0, Register.SCRATCH, 5);
    expect(bench.old.device.state.scratch).toBe(5);
    await bench.fresh.expectLeft();
    await bench.proxy.swap(bench.fresh.path);
    expect(await bench.read(0, Register.SCRATCH)).toBe(5);
  });

  it('a reset between the last of the copy and the pause is noticed as well', async () => {
    bench = await Bench.open();
    const { saboteur } = bench.old;
    // The reset comes to the device when everything has been copied ahead, or later.
    saboteur.seen = [];
    saboteur.target = { command: 13, nth: 1, how: 'wait' };
    const reset = bench.client.post(13);
    await expect.poll(() => saboteur.release, SOON).not.toBeNull();
    const swapped = bench.proxy.swap(bench.fresh.path).catch((reason: unknown) => reason);
    await expect.poll(() => bench.fresh.saboteur.seen.includes(18), SOON).toBe(true);
    saboteur.release?.();
    expect(await bench.client.reply(reset)).toMatchObject({ error: 0 });
    expect(await swapped).toMatchObject({ code: 'ERR_SWAP_FAILED', context: { step: 'drain' } });
    expect(await bench.read(0, Register.SCRATCH)).toBe(0);
    expect(bench.proxy.status()).toMatchObject({ state: 'serving', backend: bench.old.path });
  });

  it('its end is the end of the swap: the old one has the next client, the new one nothing of the guest', async () => {
    bench = await Bench.open();
    const swap = await beginSwap();
    bench.client.close();
    await expect.poll(() => bench.proxy.status().heldCommands, SOON).toBe(0);
    expect(await swap.finish().catch((reason: unknown) => reason)).toMatchObject({ code: 'ERR_SWAP_FAILED' });
    await bench.fresh.expectLeft();
    await bench.old.expectLeft();
    expect(bench.proxy.status()).toMatchObject({ state: 'no client', backend: bench.old.path, swaps: 0 });
    bench.client = await RawClient.open(`${bench.folder}/vm.sock`);
    await bench.attach();
    await bench.expectDma('with the next client');
    expect(await bench.proxy.swap(bench.fresh.path)).toMatchObject({ to: bench.fresh.path });
  });

  it("a request with the id of one of the proxy's own waits for that, and what follows it as well", async () => {
    bench = await Bench.open();
    await bench.write(0, Register.SCRATCH, 0x55);
    const { saboteur } = bench.old;
    const read = fields(BigInt(Register.SCRATCH), 0, 4);
    const latest = bench.client.post(9, read);
    await bench.client.reply(latest);
    saboteur.seen = [];
    saboteur.target = { command: 17, nth: 1, how: 'wait' };
    const swapped = bench.proxy.swap(bench.fresh.path);
    await expect.poll(() => saboteur.release, SOON).not.toBeNull();
    // Half of all ids away from the client's latest, see Unanswered.freeId.
    const same = (latest + 0x8000) & 0xffff;
    bench.client.send(rawMessage(same, 9, read));
    const follows = bench.client.post(9, read);
    await expect.poll(() => bench.proxy.status().heldCommands, SOON).toBe(2);
    saboteur.target = null;
    saboteur.release?.();
    for (const id of [same, follows]) {
      const { error, payload } = await bench.client.reply(id);
      expect([error, Buffer.from(payload).readUInt32LE(16)]).toEqual([0, 0x55]);
    }
    expect(await swapped).toMatchObject({ to: bench.fresh.path });
  });
});

describe('an old back end', () => {
  it('that does not offer PRE_COPY is read while the client waits', async () => {
    bench = await Bench.open();
    await bench.write(0, Register.SCRATCH, 0x4321);
    bench.old.saboteur.hidesPreCopy = true;
    bench.old.saboteur.seen = [];
    const report = await bench.proxy.swap(bench.fresh.path);
    expect(report).toMatchObject({ aheadBytes: 0, stateBytes: expect.any(Number) });
    expect(Object.keys(report?.steps ?? {})).not.toContain('copy ahead');
    // MIGRATION, MIG_DEVICE_STATE, configuration space, STOP_COPY, the state, STOP.
    expect(bench.old.saboteur.seen).toEqual([16, 16, 9, 16, 17, 17, 16]);
    expect(bench.fresh.device.state.scratch).toBe(0x4321);
    await bench.expectDma('without pre-copy');
  });

  it('that somebody has left in the middle of a migration is read from the beginning', async () => {
    bench = await Bench.open();
    await bench.write(0, Register.SCRATCH, 0x4321);
    const preCopy = fields(16, 0x2_0000 | DEVICE_STATE, 6, 0xffff_ffff);
    bench.client.close();
    await bench.old.expectLeft();
    const left = await RawClient.open(bench.old.served.socketPath);
    expect(await left.request(16, preCopy)).toMatchObject({ error: 0 });
    expect((await left.request(17, fields(4104, 4096))).payload.length).toBeGreaterThan(8);
    left.close();
    await bench.old.expectLeft();
    bench.client = await RawClient.open(`${bench.folder}/vm.sock`);
    await bench.ask(5, fields(32, 0, 7, 0, 0n, 0n));
    await bench.write(0, Register.SCRATCH, 0x4321);
    await bench.proxy.swap(bench.fresh.path);
    expect(bench.fresh.device.state.scratch).toBe(0x4321);
  });

  it('may say that it has no more for now as drivers of the kernel do', async () => {
    bench = await Bench.open();
    bench.old.saboteur.seen = [];
    bench.old.saboteur.target = { command: 17, nth: 2, how: 'refuse', errno: ENOMSG };
    await bench.write(0, Register.SCRATCH, 0x4321);
    await bench.proxy.swap(bench.fresh.path);
    expect(bench.fresh.device.state.scratch).toBe(0x4321);
  });
});
