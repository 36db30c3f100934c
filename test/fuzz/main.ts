import { ClientWorld } from '../client/fuzz-world.ts';
import { FuzzRun, memoryInUse } from '../helpers/fuzz-run.ts';
import { openFds } from '../helpers/open-fds.ts';
import { until } from '../helpers/until.ts';
import { Random } from '../server/fuzz-messages.ts';
import { ServerWorld } from '../server/fuzz-world.ts';

/** What is tried: a way of having one end, and of making the other say anything. */
interface Subject {
  /** Sends about so many messages. */
  round(messages: number): Promise<void>;
  /** What is wrong afterwards; null: nothing. */
  problem(): Promise<string | null>;
  /** Answers, or calls with a result: how much was understood. */
  readonly understood: number;
  close(): void;
}

const ROUND = 8000;
/** How often is told how far it is, milliseconds. */
const TELL_MS = 30_000;
const MiB = 1024 * 1024;

/** How memory may grow from the end of the first tenth on, bytes. */
const MOST_GROWTH = 64 * MiB;

function server(run: FuzzRun, random: Random, v1: boolean): Subject {
  const world = new ServerWorld(run, random, { v1 });
  let understood = 0;
  return {
    round: async (messages) => {
      understood += await world.round(messages);
    },
    problem: () => world.problem(),
    get understood() {
      return understood;
    },
    close: () => world.close(),
  };
}

function client(
  run: FuzzRun,
  random: Random,
  converse: (world: ClientWorld) => number | Promise<number>,
): Subject {
  const world = new ClientWorld(run, random);
  return {
    round: async (messages) => {
      for (let sent = 0; sent < messages; ) sent += await converse(world);
    },
    problem: async () => null,
    get understood() {
      return world.answered;
    },
    close: () => {},
  };
}

const subjects: Readonly<Record<string, (run: FuzzRun, random: Random) => Subject>> = {
  server: (run, random) => server(run, random, false),
  'server-v1': (run, random) => server(run, random, true),
  'client-blocking': (run, random) => client(run, random, (world) => world.blocking()),
  'client-promising': (run, random) => client(run, random, (world) => world.promising()),
  'client-event-loop': (run, random) => client(run, random, (world) => world.onEventLoop()),
};

/** Sends `count` messages; throws at the first thing that is wrong. */
async function fuzz(name: string, count: number, seed: number): Promise<void> {
  const make = subjects[name];
  if (make === undefined) throw new Error(`there is no ${name}: ${Object.keys(subjects).join(', ')}`);
  const run = new FuzzRun();
  const subject = make(run, new Random(seed));
  // Buffers of every size have to have been there once: the allocator keeps what it has.
  await subject.round(Math.max(ROUND, count / 10));
  const [fds, memory, started] = [openFds(), await memoryInUse(), performance.now()];
  const cpu = process.cpuUsage();
  let told = started;
  for (let said = 0; said < count; said += ROUND) {
    await subject.round(Math.min(ROUND, count - said));
    const problem = await subject.problem();
    if (problem !== null || run.bugs.length > 0) throw new Error(`${problem}\n${run.bugs.join('\n')}`);
    if (performance.now() - told < TELL_MS) continue;
    told = performance.now();
    console.log(`${name}: ${said + ROUND} of ${count}, ${Math.round(process.memoryUsage().rss / MiB)} MiB`);
  }
  await until(() => openFds().length <= fds.length);
  const after = openFds();
  if (after.join() !== fds.join())
    throw new Error(`left open:\n${after.join('\n')}\nbefore:\n${fds.join('\n')}`);
  const grown = (await memoryInUse()) - memory;
  if (grown > MOST_GROWTH) throw new Error(`memory has grown by ${Math.round(grown / MiB)} MiB`);
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `${name}, seed ${seed}: ${count} messages, ${subject.understood} understood, in ${seconds.toFixed(0)} s ` +
      `(${((user + system) / 1e6).toFixed(0)} s of CPU); ${(grown / MiB).toFixed(1)} MiB more, no fd more`,
  );
  subject.close();
  run.close();
}

// Most of the time would be spent on where errors were made, and most of them have to be.
Error.stackTraceLimit = 4;
const [name = '', count = '1000000', seed = '20261120'] = process.argv.slice(2);
await fuzz(name, Number(count), Number(seed));
