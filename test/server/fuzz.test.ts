import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FuzzRun, memoryInUse } from '../helpers/fuzz-run.ts';
import { openFds } from '../helpers/open-fds.ts';
import { rawMessage, versionPayload } from '../helpers/raw-client.ts';
import { SEED } from '../helpers/seed.ts';
import { until } from '../helpers/until.ts';
import { FuzzClient } from './fuzz-client.ts';
import { proposals, Random, seeds, v1Seeds } from './fuzz-messages.ts';
import { ServerWorld, turn } from './fuzz-world.ts';
import { getState, loadState, saveState, setState } from './migration-driver.ts';

const { FERRY_FUZZ_COUNT } = process.env;
const COUNT = Number(FERRY_FUZZ_COUNT ?? 100_000);
/** After so many messages everybody leaves, and the server has to work as if nothing had been. */
const ROUND = 8000;
/** Beyond the fixed part of every message it makes no difference where one breaks off. */
const LONGEST_CUT = 60;
const RUNNING = 2;
const STOP = 1;
const MiB = 1024 * 1024;

describe.each([
  ['a device of v2', false, COUNT],
  ['a device of v1', true, COUNT / 4],
] as const)(`any message to %s, with seed ${SEED}`, (_, v1, count) => {
  let run: FuzzRun;
  let world: ServerWorld;
  const random = new Random(SEED);

  beforeAll(() => {
    run = new FuzzRun();
  });
  afterAll(() => run.close());
  beforeEach(() => {
    run.bugs.length = 0;
    world = new ServerWorld(run, random, { v1 });
  });
  afterEach(() => world.close());

  it(`crashes nothing and leaks nothing: ${count} of them`, { timeout: 600_000 + count }, async () => {
    expect(await world.problem()).toBeNull();
    await world.round(ROUND);
    const fds = openFds();
    const memory = await memoryInUse();
    let replies = 0;
    for (let said = 0; said < count; said += ROUND) {
      replies += await world.round(Math.min(ROUND, count - said));
      expect(await world.problem()).toBeNull();
    }
    expect(run.bugs).toEqual([]);
    expect(replies, 'most were understood well enough to be answered').toBeGreaterThan(count / 4);
    expect(openFds()).toEqual(fds);
    expect((await memoryInUse()) - memory).toBeLessThan(64 * MiB);
  });

  it('that breaks off, at any byte of any command, leaves nothing behind', { timeout: 600_000 }, async () => {
    expect(await world.problem()).toBeNull();
    const { socketPath, controlPath } = world.served;
    const fds = openFds();
    const hello = rawMessage(0, 1, versionPayload(0, 0, proposals[0]));
    // What differs only in its values breaks off in the same places.
    const forms = new Map(
      (v1 ? v1Seeds : seeds).map((seed) => [`${seed[0]} ${seed[1].length}`, seed] as const),
    );
    const stories = [
      hello,
      ...[...forms.values()].map(([command, payload]) => rawMessage(1, command, payload)),
    ];
    for (const [which, story] of stories.entries()) {
      for (let cut = 1; cut < Math.min(story.length, LONGEST_CUT); cut += 1) {
        const client = new FuzzClient(cut % 2 === 0 ? socketPath : controlPath);
        if (which > 0) client.send(hello);
        client.send(story.subarray(0, cut), cut % 3 === 0 ? run.pool.slice(0, 3) : null);
        if (cut % 4 === 0) await turn();
        client.close();
      }
      await turn();
    }
    await until(() => openFds().length <= fds.length);
    await world.everybodyHasGone();
    expect(await world.problem()).toBeNull();
    expect(openFds()).toEqual(fds);
    expect(run.bugs).toEqual([]);
  });
});

it('a changed stream of state, or one with a piece missing, never gets a device to run on half of it', {
  timeout: 600_000,
}, async () => {
  const run = new FuzzRun();
  const random = new Random(SEED + 1);
  const world = new ServerWorld(run, random);
  const source = await world.served.control();
  const state = await saveState(source);
  await setState(source, RUNNING);
  const main = await world.served.main();
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
  expect(run.bugs).toEqual([]);
  world.close();
  run.close();
});
