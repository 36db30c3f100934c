import { afterEach, describe, expect, it } from 'vitest';
import { loadNative } from '../../src/native/index.ts';
import { ProxyError, SWAP_STEPS, type SwapStep } from '../../src/proxy/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields, RawClient, type RawMessage, rawMessage } from '../helpers/raw-client.ts';
import { Bench, Register, SOON } from './bench.ts';
import type { Sabotage, Target } from './saboteur.ts';

const { RUNNING, STOP } = MigrationState;
const CONFIG = 7;

let bench: Bench;
afterEach(() => bench.close());

async function failedSwap(): Promise<ProxyError> {
  const error = await bench.proxy.swap(bench.fresh.path).catch((reason: unknown) => reason);
  if (error instanceof ProxyError) return error;
  throw new Error(`the swap did not fail: ${String(error)}`);
}

/** Has the client read again and again until it has to wait for the answer; returns the id of that request. */
async function postUntilHeld(): Promise<number> {
  for (;;) {
    const read = bench.client.post(9, fields(BigInt(Register.DMA_DONE), 0, 4));
    const answers = ({ id, flags }: RawMessage): boolean => id === read && flags === 1;
    let answered = false;
    while (!answered && bench.proxy.status().heldCommands === 0) {
      answered = await bench.client.receives(answers, 20);
    }
    if (!answered) return read;
  }
}

describe('a swap', () => {
  it('takes the device with its state, memory, interrupts and configuration to another back end', async () => {
    bench = await Bench.open();
    await bench.write(0, Register.SCRATCH, 0x1234);
    await bench.expectDma('before');
    const report = await bench.proxy.swap(bench.fresh.path);
    expect(report).toMatchObject({
      from: bench.old.path,
      to: bench.fresh.path,
      dmaMaps: 2,
      vectors: 2,
      lost: [],
    });
    expect(report?.stateBytes).toBeGreaterThan(0);
    expect(Object.keys(report?.steps ?? {})).toEqual([...SWAP_STEPS]);
    expect(await bench.read(0, Register.SCRATCH)).toBe(0x1234);
    expect(bench.fresh.device.state.scratch).toBe(0x1234);
    expect([await bench.read(CONFIG, 0x10), await bench.read(CONFIG, 4, 2)]).toEqual([0xfeb0_0000, 6]);
    await bench.expectDma('after');
    await bench.old.expectLeft();
    expect(bench.old.served.server.migration.state).toBe(STOP);
  });

  it('goes to and fro under load, and loses, doubles or reorders nothing', async () => {
    bench = await Bench.open();
    let going = true;
    let written = 0;
    const load = (async () => {
      while (going) {
        written += 1;
        bench.client.post(10, bench.writeOf(0, Register.SCRATCH, written), 0x10);
        expect(await bench.read(0, Register.SCRATCH)).toBe(written);
      }
    })();
    for (let i = 0; i < 20; i++) {
      const at = written;
      await bench.proxy.swap((i % 2 === 0 ? bench.fresh : bench.old).path);
      await expect.poll(() => written, SOON).toBeGreaterThan(at + 5);
    }
    going = false;
    await load;
    await bench.expectDma('still there');
    expect(bench.proxy.status()).toMatchObject({ swaps: 20, state: 'serving', lastFailure: null });
  });

  it('waits for what is on its way: an answer of the back end, and the DMA reply of the client', async () => {
    bench = await Bench.open();
    await bench.write(0, Register.DMA_ADDRESS, 0x8000_0000);
    await bench.write(0, Register.DMA_LENGTH, 4);
    const asked = await bench.client.next(({ command }) => command === 11);
    const swapped = bench.proxy.swap(bench.fresh.path);
    const read = await postUntilHeld();
    expect(bench.proxy.status()).toMatchObject({ state: 'swapping', heldCommands: 1 });
    const data = Buffer.from('DMA!');
    const payload = fields(0x8000_0000n, 4n, data);
    bench.client.send(rawMessage(asked.id, 11, payload, 1));
    await swapped;
    expect(Buffer.from((await bench.client.reply(read)).payload).readUInt32LE(16)).toBe(1);
    expect(Buffer.from(bench.fresh.device.state.ram.bytes.subarray(0, 4)).toString()).toBe('DMA!');
  });

  it('is possible with servers whose regions can be mapped: the client is not told', async () => {
    bench = await Bench.open();
    const MAPPABLE = 4;
    const direct = await RawClient.open(bench.fresh.served.socketPath);
    const told = await direct.request(5, fields(64, 0, 2, 0, 0n, 0n));
    direct.close();
    expect([told.fds.length, Buffer.from(told.payload).readUInt32LE(4) & MAPPABLE]).toEqual([1, MAPPABLE]);
    for (const fd of told.fds) loadNative().close(fd);
    await bench.fresh.expectLeft();
    const { fds, payload } = await bench.client.request(5, fields(64, 0, 2, 0, 0n, 0n));
    expect([fds.length, Buffer.from(payload).readUInt32LE(4) & MAPPABLE]).toEqual([0, 0]);
    expect((await bench.client.request(6, fields(512, 0, 2, 0))).fds).toEqual([]);
    expect(await bench.proxy.swap(bench.fresh.path)).toMatchObject({ to: bench.fresh.path });
    await bench.expectDma('through messages');
  });

  it('masks again what the client has masked', async () => {
    bench = await Bench.open();
    await bench.ask(8, fields(20, 0x09, 2, 1, 1));
    await bench.proxy.swap(bench.fresh.path);
    await bench.write(0, 0x18, 1);
    expect(loadNative().eventfdRead(bench.eventfd)).toBeLessThan(0);
    await bench.ask(8, fields(20, 0x11, 2, 1, 1));
    expect(loadNative().eventfdRead(bench.eventfd)).toBe(1);
  });
});

describe('a swap is refused before anything is touched', () => {
  const cases: readonly (readonly [string, () => Promise<unknown>, RegExp])[] = [
    [
      'while the client has DMA logging started',
      () => bench.ask(16, fields(32, 0x2_0006, 4096n, 0, 0)),
      /DMA logging/,
    ],
    [
      'while the client migrates the device itself',
      () => bench.ask(16, fields(16, 0x2_0002, STOP, 0xffff_ffff)),
      /migrates the device itself/,
    ],
  ];
  it.each(cases)('%s', async (_, arrange, why) => {
    bench = await Bench.open();
    await arrange();
    const error = await failedSwap();
    expect(error).toMatchObject({ code: 'ERR_SWAP_REFUSED', message: expect.stringMatching(why) });
    expect(bench.fresh.saboteur.seen).toEqual([]);
  });

  it('when the client can map regions', async () => {
    bench = await Bench.open({ mmap: true });
    const { fds } = await bench.client.request(5, fields(64, 0, 2, 0, 0n, 0n));
    for (const fd of fds) loadNative().close(fd);
    expect(fds).toHaveLength(1);
    expect(await failedSwap()).toMatchObject({
      code: 'ERR_SWAP_REFUSED',
      message: expect.stringMatching(/--mmap/),
    });
  });

  it('while another one is under way', async () => {
    bench = await Bench.open();
    const first = bench.proxy.swap(bench.fresh.path);
    expect(await failedSwap()).toMatchObject({ code: 'ERR_PROXY_BUSY' });
    await first;
  });

  it('when no client holds the device, unless it is to begin afresh', async () => {
    bench = await Bench.open();
    bench.client.close();
    await expect.poll(() => bench.proxy.status().state, SOON).toBe('no client');
    expect(await failedSwap()).toMatchObject({ code: 'ERR_SWAP_REFUSED' });
    expect(await bench.proxy.swap(bench.fresh.path, true)).toBeNull();
    expect(bench.proxy.status().backend).toBe(bench.fresh.path);
  });
});

/** Requests of a swap to the new back end, and to the old one after it has served the client. */
const NEW: readonly (readonly [SwapStep, number, number])[] = [
  ['version', 1, 1],
  ['prepare', 16, 3],
  ['describe', 4, 1],
  ['describe', 5, 3],
  ['describe', 7, 1],
  ['map ahead', 2, 1],
  ['map ahead', 2, 2],
  ['interrupts ahead', 8, 1],
  ['interrupts ahead', 8, 2],
  ['copy ahead', 18, 1],
  ['copy', 18, 2],
  ['finish', 16, 4],
  ['configure', 9, 1],
  ['run', 16, 5],
];
const OLD: readonly (readonly [SwapStep, number, number])[] = [
  ['prepare', 16, 1],
  ['prepare', 16, 2],
  ['copy ahead', 16, 3],
  ['copy ahead', 17, 1],
  ['copy ahead', 17, 2],
  ['read configuration', 9, 1],
  ['stop', 16, 4],
  ['copy', 17, 3],
  ['copy', 17, 4],
  ['finish', 16, 5],
];
const WAYS: readonly Sabotage[] = ['refuse', 'hang', 'close', 'lie'];
/** Where it makes a difference that the request was carried out all the same. */
const LIES: readonly SwapStep[] = ['interrupts ahead', 'copy ahead', 'stop', 'copy', 'finish', 'run'];

/** Asked for together, so that an end of the connection may be noticed in any of them. */
const TOGETHER: SwapStep[] = ['copy', 'interrupts', 'finish', 'configure'];

function seenIn({ step, how }: { readonly step: SwapStep; readonly how: Sabotage }): SwapStep[] {
  return how === 'close' && TOGETHER.includes(step) ? TOGETHER : [step];
}

const cases = (list: typeof NEW) =>
  list.flatMap(([step, command, nth]) =>
    WAYS.filter((how) => how !== 'lie' || LIES.includes(step)).map((how) => ({ step, command, nth, how })),
  );

/** The old back end serves the client as before, and the new one can do nothing to it. */
async function expectOldServes(): Promise<void> {
  expect(await bench.read(0, Register.SCRATCH)).toBe(0x77);
  await bench.write(0, Register.SCRATCH, 0x78);
  expect(bench.old.device.state.scratch).toBe(0x78);
  expect(bench.old.served.server.migration.state).toBe(RUNNING);
  expect([await bench.read(CONFIG, 0x10), await bench.read(CONFIG, 4, 2)]).toEqual([0xfeb0_0000, 6]);
  await bench.expectDma('as before');
  await bench.fresh.expectLeft();
  expect(bench.proxy.status()).toMatchObject({ state: 'serving', backend: bench.old.path, swaps: 0 });
}

async function sabotagedSwap(at: 'old' | 'fresh', target: Target): Promise<ProxyError> {
  await bench.write(0, Register.SCRATCH, 0x77);
  // Only what comes from here on counts.
  if (at === 'old') bench.old.saboteur.seen = [];
  bench[at].saboteur.target = target;
  const failing = failedSwap();
  if (target.how === 'hang') await expect.poll(() => timesOut(at), SOON).toBe(true);
  const error = await failing;
  bench[at].saboteur.target = null;
  return error;
}

/** Once the request has been swallowed and all others are answered, its time is up. */
function timesOut(at: 'old' | 'fresh'): boolean {
  return bench[at].saboteur.swallowed && bench.reactor.expireOnly();
}

describe('a swap that fails on its way leaves the old back end in service, and the new one out of it', () => {
  it.each(cases(NEW))('when the new one fails in step $step: $how of $command, $nth', async (target) => {
    bench = await Bench.open();
    const error = await sabotagedSwap('fresh', target);
    expect(error).toMatchObject({
      code: 'ERR_SWAP_FAILED',
      context: { step: expect.toBeOneOf(seenIn(target)) },
    });
    await expectOldServes();
    expect(await bench.proxy.swap(bench.fresh.path), 'and the next try').toMatchObject({
      to: bench.fresh.path,
    });
    expect(await bench.read(0, Register.SCRATCH)).toBe(0x78);
  });

  it.each(cases(OLD).filter(({ how }) => how !== 'close'))(
    'when the old one fails in step $step: $how of $command, $nth',
    async (target) => {
      bench = await Bench.open();
      const error = await sabotagedSwap('old', target);
      expect(error).toMatchObject({ code: 'ERR_SWAP_FAILED', context: { step: target.step } });
      await expectOldServes();
    },
  );

  it('when nobody listens at the new path', async () => {
    bench = await Bench.open();
    await bench.write(0, Register.SCRATCH, 0x77);
    const error = await bench.proxy.swap(`${bench.folder}/nobody`).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'ERR_SWAP_FAILED', context: { step: 'connect' } });
    await expectOldServes();
  });
});

describe('an old back end that dies in a swap', () => {
  it.each(cases(OLD).filter(({ how, step }) => how === 'close' && step !== 'finish'))(
    'in step $step ($command, $nth) takes its state with it, and nothing pretends otherwise',
    async (target) => {
      bench = await Bench.open();
      expect(await sabotagedSwap('old', target)).toMatchObject({ code: 'ERR_SWAP_FAILED' });
      await bench.fresh.expectLeft();
      expect(bench.proxy.status()).toMatchObject({ state: 'no back end', loss: { path: bench.old.path } });
      expect(await failedSwap()).toMatchObject({
        code: 'ERR_SWAP_REFUSED',
        message: expect.stringMatching(/lost/),
      });
    },
  );

  it('when all of its state has been taken does not matter any more', async () => {
    bench = await Bench.open();
    await bench.write(0, Register.SCRATCH, 0x77);
    bench.old.saboteur.seen = [];
    bench.old.saboteur.target = { command: 16, nth: 5, how: 'close' };
    await bench.proxy.swap(bench.fresh.path);
    expect(await bench.read(0, Register.SCRATCH)).toBe(0x77);
    await bench.expectDma('on the new one');
    expect(bench.proxy.status()).toMatchObject({ state: 'serving', loss: null });
  });
});
