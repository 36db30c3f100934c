import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DeviceClient, GuestMemory } from '../../src/client/index.ts';
import { FerryError } from '../../src/errors/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { settle } from '../helpers/served.ts';
import { Random } from '../server/fuzz-messages.ts';
import { until } from '../server/until.ts';
import { native, paired } from './fake-server.ts';
import { calls } from './fuzz-calls.ts';
import { FuzzServer } from './fuzz-server.ts';

const { FERRY_FUZZ_SEED, FERRY_FUZZ_COUNT } = process.env;
const SEED = Number(FERRY_FUZZ_SEED ?? 20_261_120);
const COUNT = Number(FERRY_FUZZ_COUNT ?? 20_000);
/** After so many messages it is looked whether anything has been left behind. */
const ROUND = 20_000;
/** Clients at once, and calls that each has under way: most wait for an answer that never comes. */
const CLIENTS = 32;
const AT_ONCE = 24;
const CALLS = 400;
const TIMEOUT_MS = 15;
const MiB = 1024 * 1024;

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

describe(`any answer, with seed ${SEED}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-fuzz-'));
  /** fds of every kind, which the server attaches to whatever it says. */
  const pool: number[] = [];
  const bugs: string[] = [];
  const unhandled = (reason: unknown): void => void bugs.push(`unhandled: ${String(reason)}`);
  const random = new Random(SEED);
  let answered = 0;

  beforeAll(() => {
    const pair = new Int32Array(2);
    native.socketpair(pair);
    native.close(pair[1] ?? -1);
    pool.push(native.eventfd(0), native.memfd('a', 65_536, true), native.memfd('b', 1, false), pair[0] ?? -1);
    pool.push(openSync('/dev/null', 'w'), openSync(folder, 'r'));
    process.on('unhandledRejection', unhandled);
  });
  afterAll(() => {
    process.off('unhandledRejection', unhandled);
    for (const fd of pool) closeSync(fd);
    rmSync(folder, { recursive: true });
  });

  /** What a call comes to; only errors of Ferry may be told. */
  async function outcome(run: () => Promise<unknown>): Promise<void> {
    try {
      await run();
      answered += 1;
    } catch (error) {
      if (!(error instanceof FerryError))
        bugs.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
  }

  /** One client that does whatever there is to do, with one server. Gives how many messages the server sent. */
  async function converse(): Promise<number> {
    const { face, peer } = paired();
    const server = new FuzzServer(peer, random, pool);
    const memory = new GuestMemory(native);
    const region = memory.add({ iova: 0x10_0000n, size: 65_536 });
    await outcome(async () => {
      const client = await DeviceClient.connect('fuzz', {
        native: face,
        timeoutMs: TIMEOUT_MS,
        twinSocket: random.once(4),
        // Buffers follow from it, and most connections are short.
        capabilities: random.once(8) ? {} : { maxDataXferSize: 65_536 },
      });
      for (let called = 0; called < CALLS && client.closedBecause === null; called += AT_ONCE) {
        const batch = Array.from({ length: AT_ONCE }, () => random.pick(calls));
        await Promise.all(batch.map((call) => outcome(() => call(client, random, region))));
      }
      client.close();
    });
    server.close();
    memory.close();
    return server.sent;
  }

  async function round(count: number): Promise<void> {
    for (let sent = 0; sent < count; ) {
      const counts = await Promise.all(Array.from({ length: CLIENTS }, converse));
      sent += counts.reduce((sum, one) => sum + one, 0);
    }
  }

  it(`crashes no client and leaks nothing: ${COUNT} of them`, { timeout: 120_000 + COUNT }, async () => {
    // Buffers of every size have to have been there once: the allocator keeps what it has.
    await round(ROUND);
    const fds = openFds();
    const memory = await memoryInUse();
    answered = 0;
    for (let sent = 0; sent < COUNT; sent += ROUND) {
      await round(Math.min(ROUND, COUNT - sent));
      expect(bugs).toEqual([]);
      await until(() => openFds().length <= fds.length);
    }
    expect(answered, 'many answers are good enough').toBeGreaterThan(COUNT / 20);
    expect(openFds()).toEqual(fds);
    expect((await memoryInUse()) - memory).toBeLessThan(64 * MiB);
  });
});
