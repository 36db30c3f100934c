import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FuzzRun, memoryInUse } from '../helpers/fuzz-run.ts';
import { openFds } from '../helpers/open-fds.ts';
import { SEED } from '../helpers/seed.ts';
import { until } from '../helpers/until.ts';
import { Random } from '../server/fuzz-messages.ts';
import { ClientWorld } from './fuzz-world.ts';

const { FERRY_FUZZ_COUNT } = process.env;
const COUNT = Number(FERRY_FUZZ_COUNT ?? 50_000);
/** On the event loop most of the time is spent waiting for answers that never come. */
const LOOP_COUNT = Number(FERRY_FUZZ_COUNT ?? 50_000) / 10;
/** After so many messages it is looked whether anything has been left behind. */
const ROUND = 20_000;
const MiB = 1024 * 1024;

describe(`any answer, with seed ${SEED}`, () => {
  let run: FuzzRun;
  beforeAll(() => {
    run = new FuzzRun();
  });
  afterAll(() => run.close());

  const ways = [
    ['a client that blocks', COUNT, (world: ClientWorld) => world.blocking()],
    ['a client of promises', COUNT, (world: ClientWorld) => world.promising()],
    ['clients on the event loop', LOOP_COUNT, (world: ClientWorld) => world.onEventLoop()],
  ] as const;

  it.each(ways)(
    'crashes no client and leaks nothing: %s, %i of them',
    { timeout: 600_000 + COUNT },
    async (...[, count, converse]) => {
      const world = new ClientWorld(run, new Random(SEED));
      const round = async (messages: number): Promise<void> => {
        for (let sent = 0; sent < messages; ) sent += await converse(world);
      };
      // Buffers of every size have to have been there once: the allocator keeps what it has.
      await round(Math.min(ROUND, count));
      const fds = openFds();
      const memory = await memoryInUse();
      world.answered = 0;
      for (let sent = 0; sent < count; sent += ROUND) {
        await round(Math.min(ROUND, count - sent));
        expect(run.bugs).toEqual([]);
        await until(() => openFds().length <= fds.length);
      }
      expect(world.answered, 'many answers are good enough').toBeGreaterThan(count / 20);
      expect(openFds()).toEqual(fds);
      expect((await memoryInUse()) - memory).toBeLessThan(64 * MiB);
    },
  );
});
