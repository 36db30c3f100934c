import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadNative } from '../../src/native/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { rawMessage, versionPayload } from '../helpers/raw-client.ts';
import { serveForTest, settle } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { readRegister } from './dma-device.ts';
import { FuzzClient } from './fuzz-client.ts';
import { proposals, Random, randomMessage, seeds } from './fuzz-messages.ts';
import { getState, loadState, saveState, setState } from './migration-driver.ts';
import { until } from './until.ts';

const { FERRY_FUZZ_SEED, FERRY_FUZZ_COUNT } = process.env;
const SEED = Number(FERRY_FUZZ_SEED ?? 20_261_120);
const COUNT = Number(FERRY_FUZZ_COUNT ?? 200_000);
/** After so many messages everybody leaves, and the server has to work as if nothing had been. */
const ROUND = 8000;
/** Messages sent at once. */
const BATCH = 24;
/** Beyond the fixed part of every message it makes no difference where one breaks off. */
const LONGEST_CUT = 60;
const RUNNING = 2;
const STOP = 1;
const MiB = 1024 * 1024;

const native = loadNative();

/** A test device that asks for no more memory than it has. */
class FuzzedDevice extends TestDevice {
  override async work(): Promise<void> {
    this.state.dmaLength &= 0xffff;
    await super.work();
  }
}

/** How many fds DMA_MAP and SET_IRQS come with. */
function fdsDue(message: Buffer): number {
  if (message.length < 36) return 0;
  const command = message.readUInt16LE(2);
  if (command === 8) return Math.min(5, message.readUInt32LE(32));
  return command === 2 ? 1 : 0;
}

/** Lets the server, which shares this thread, do what there is to do. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Memory in use when nothing is left to collect. */
async function memoryInUse(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  for (let again = 0; again < 3; again += 1) {
    collect();
    await settle(20);
  }
  return process.memoryUsage.rss();
}

describe(`any message, with seed ${SEED}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-fuzz-'));
  /** fds of every kind, which clients attach to whatever they say. */
  const pool: number[] = [];
  const bugs: string[] = [];
  const unhandled = (reason: unknown): void => void bugs.push(`unhandled: ${String(reason)}`);
  let served: ReturnType<typeof serveForTest>;

  beforeAll(() => {
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const pair = new Int32Array(2);
    native.socketpair(pair);
    native.close(pair[1] ?? -1);
    pool.push(
      native.eventfd(0),
      native.eventfd(0),
      native.memfd('a', 65_536, true),
      native.memfd('b', 1, false),
    );
    pool.push(
      pair[0] ?? -1,
      openSync(fifo, constants.O_RDWR),
      openSync('/dev/null', 'w'),
      openSync(folder, 'r'),
    );
    process.on('unhandledRejection', unhandled);
  });
  afterAll(() => {
    process.off('unhandledRejection', unhandled);
    for (const fd of pool) closeSync(fd);
    rmSync(folder, { recursive: true });
  });
  beforeEach(() => {
    bugs.length = 0;
    served = serveForTest(new FuzzedDevice(), {
      holdLimitMs: 50,
      // What a handler throws that is no FerryError is a bug, whatever made it do so.
      report: (error) => {
        if (error.cause !== undefined && error.message.startsWith('handling')) bugs.push(String(error.cause));
      },
    });
  });
  afterEach(() => served.close());

  async function everybodyHasGone(): Promise<void> {
    await until(() => served.server.main === null && served.server.controls === 0);
  }

  /** A new controller and a new VMM find a device that works, whatever has been. */
  async function expectWorking(): Promise<void> {
    const control = await served.control();
    expect((await control.request(13)).error).toBe(0);
    // What the VMMs of a hold have written is written now; the second reset finds nothing to keep.
    expect(await setState(control, RUNNING)).toBe(0);
    expect((await control.request(13)).error).toBe(0);
    const main = await served.main();
    expect(await readRegister(main, 0)).toBe(0x600df00d);
    expect(await readRegister(main, 8), 'a reset has been').toBe(7);
    expect(
      (await main.request(3, Buffer.concat([Buffer.from([24, 0, 0, 0, 2, 0, 0, 0]), Buffer.alloc(16)])))
        .error,
    ).toBe(0);
    main.close();
    control.close();
    await everybodyHasGone();
  }

  /** fds for one message: often as many as it should have, sometimes any number, mostly none. */
  function randomFds(random: Random, message: Buffer): number[] | null {
    const due = fdsDue(message);
    const count = due > 0 && !random.once(3) ? due : random.once(8) ? 1 + random.below(5) : 0;
    // Now and then all of a kind, or no SET_IRQS would ever succeed.
    const first = random.pick(pool);
    const mixed = random.once(2);
    return count === 0 ? null : Array.from({ length: count }, () => (mixed ? random.pick(pool) : first));
  }

  /** Sends a batch: glued together, one by one with fds, or in two pieces. */
  async function say(random: Random, client: FuzzClient): Promise<void> {
    const messages = Array.from({ length: BATCH }, () => randomMessage(random));
    if (random.once(3)) {
      for (const message of messages) client.send(message, randomFds(random, message));
    } else {
      const glued = Buffer.concat(messages);
      const cut = random.once(2) ? random.below(glued.length) : 0;
      client.send(glued.subarray(0, cut));
      if (cut > 0) await turn();
      client.send(glued.subarray(cut), randomFds(random, messages.at(-1) ?? glued));
    }
    await turn();
    client.drain();
  }

  function connect(random: Random, index: number): FuzzClient {
    const client = new FuzzClient(index === 0 ? served.socketPath : served.controlPath);
    client.greet(random.pick(proposals));
    return client;
  }

  /** Everybody talks at once, and leaves in the middle of it. */
  async function round(random: Random, count: number): Promise<number> {
    const clients = [0, 1, 2].map((index) => connect(random, index));
    await turn();
    let replies = 0;
    for (let said = 0; said < count; said += BATCH) {
      const index = random.pick([0, 0, 1, 2]);
      const client = clients[index] ?? connect(random, index);
      await say(random, client);
      if (!client.ended && !random.once(60)) continue;
      replies += client.replies;
      client.close();
      await turn();
      clients[index] = connect(random, index);
      await turn();
    }
    for (const client of clients) {
      replies += client.replies;
      client.close();
    }
    await everybodyHasGone();
    return replies;
  }

  it(`crashes nothing and leaks nothing: ${COUNT} of them`, { timeout: 120_000 + COUNT }, async () => {
    const random = new Random(SEED);
    await expectWorking();
    await round(random, ROUND);
    const fds = openFds();
    const memory = await memoryInUse();
    let replies = 0;
    for (let said = 0; said < COUNT; said += ROUND) {
      replies += await round(random, Math.min(ROUND, COUNT - said));
      await expectWorking();
    }
    expect(bugs).toEqual([]);
    expect(replies, 'most were understood well enough to be answered').toBeGreaterThan(COUNT / 4);
    expect(openFds()).toEqual(fds);
    expect((await memoryInUse()) - memory).toBeLessThan(64 * MiB);
  });

  it('that breaks off, at any byte of any command, leaves nothing behind', { timeout: 60_000 }, async () => {
    await expectWorking();
    const fds = openFds();
    const hello = rawMessage(0, 1, versionPayload(0, 0, proposals[0]));
    const stories = [hello, ...seeds.map(([command, payload]) => rawMessage(1, command, payload))];
    for (const [which, story] of stories.entries()) {
      for (let cut = 1; cut < Math.min(story.length, LONGEST_CUT); cut += 1) {
        const client = new FuzzClient(cut % 2 === 0 ? served.socketPath : served.controlPath);
        if (which > 0) client.send(hello);
        client.send(story.subarray(0, cut), cut % 3 === 0 ? pool.slice(0, 3) : null);
        if (cut % 4 === 0) await turn();
        client.close();
      }
      await turn();
    }
    await until(() => openFds().length <= fds.length);
    await everybodyHasGone();
    await expectWorking();
    expect(openFds()).toEqual(fds);
    expect(bugs).toEqual([]);
  });

  it('in a stream of state, or cut out of one, never gets a device to run on half of it', {
    timeout: 60_000,
  }, async () => {
    const random = new Random(SEED + 1);
    const source = await served.control();
    const state = await saveState(source);
    await setState(source, RUNNING);
    const main = await served.main();
    await main.request(
      10,
      Buffer.concat([Buffer.from([4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]), Buffer.alloc(4, 0x11)]),
    );
    for (let again = 0; again < 150; again += 1) {
      const wrong = Buffer.from(state);
      const at = random.below(wrong.length);
      if (random.once(3)) wrong.copyWithin(at, random.below(wrong.length));
      else wrong[at] = (wrong[at] ?? 0) ^ (1 + random.below(255));
      if (wrong.equals(state)) continue;
      const loaded = await loadState(source, wrong).then(
        () => true,
        () => false,
      );
      expect(loaded && (await setState(source, STOP)) === 0, `change at ${at}`).toBe(false);
      expect(await getState(source)).toBe(4);
      expect((await source.request(13)).error).toBe(0);
    }
    expect(bugs).toEqual([]);
  });
});
