import { describe, expect, it } from 'vitest';
import { MigrationError, type MigrationReport, migrate } from '../../src/engine/index.ts';
import { FakeClock } from './fake-clock.ts';
import { ANSWERABLE, FAULTS, type Fault } from './fake-faults.ts';
import { World, type WorldOptions } from './fake-world.ts';

/** Hundreds of migrations, each of them short. */
const LONG_MS = process.env['FERRY_CHAOS'] === 'long' ? 3_600_000 : 60_000;

interface Run {
  readonly world: World;
  readonly result: MigrationReport | MigrationError;
}

async function run(options: WorldOptions): Promise<Run> {
  const world = new World(new FakeClock(), options);
  const result = await migrate(world.source, world.destination, { clock: world.clock, window: 2 }).catch(
    (error: unknown) => error,
  );
  if (result instanceof Error && !(result instanceof MigrationError)) throw result;
  if (!isResult(result)) throw new Error(`neither a report nor a MigrationError: ${String(result)}`);
  return { world, result };
}

function isResult(value: unknown): value is MigrationReport | MigrationError {
  return typeof value === 'object' && value !== null && 'owner' in value;
}

/** What must hold after every run, whatever went wrong. Empty when it does. */
function complaints({ world, result }: Run): string[] {
  const found: string[] = [];
  if (isBeyondUs(world)) return found;
  found.push(...violations(world));
  const { source, destination } = world;
  if (world.clock.pending > 0) found.push('a timer is left');
  // A reset by somebody else between the last look and the request to run can't be seen by any controller.
  if (destination.discarded) return found;
  if (!(result instanceof MigrationError)) {
    if (!destination.runsGuest && !diedLater(world))
      found.push('reported success, but it does not run there');
    if (source.runsGuest) found.push('reported success, but the source runs');
    return found;
  }
  if (result.owner === 'source' && destination.runsGuest) found.push('says source, runs at the destination');
  if (result.owner === 'destination' && !destination.runsGuest && result.nextSteps.length === 0)
    found.push('says destination, does not run there, and tells no next step');
  if (result.owner === 'destination' && source.runsGuest) found.push('says destination, runs at the source');
  if (result.owner === 'in doubt' && result.nextSteps.length === 0)
    found.push('in doubt without a next step');
  if (destination.resetWhileRunning) found.push('the destination was reset although it ran');
  const copies = [source, destination].filter((end) => end.hasGuest);
  if (copies.length === 0 && destination.wasThrownAway && !wasRace(world) && !ranAgain(world))
    found.push('the only copy was thrown away');
  return found;
}

/** Somebody else resets the source between our last look at it and our request to run it again. */
function wasRace({ calls, faults }: World): boolean {
  return [...faults].some(
    ([index, fault]) => fault === 'foreign-reset' && calls[index]?.what === 'setState 2',
  );
}

/** It ran, and failed when there was nothing left to do but to give its claim back. */
function diedLater({ calls, faults }: World): boolean {
  return [...faults.keys()].some(
    (index) => calls[index]?.end === 'destination' && calls[index]?.what === 'release',
  );
}

/** Where servers know no claims, nothing keeps a VMM from resetting a source that has been handed over. */
function isBeyondUs({ calls, faults, source }: World): boolean {
  if (source.claim !== undefined) return false;
  return [...faults].some(
    ([index, fault]) =>
      fault === 'foreign-reset' && calls[index]?.end === 'source' && calls[index]?.what === 'setState 1',
  );
}

/** The source failed when it ran again already: the copy at the destination was of no use any more. */
function ranAgain({ calls, faults }: World): boolean {
  const back = calls.findIndex(({ end, what }) => end === 'source' && what === 'setState 2');
  return [...faults.keys()].some(
    (index) =>
      back !== -1 && index > back && calls[index]?.end === 'source' && calls[index]?.what === 'release',
  );
}

/** What must never be, even with an end that lies about its own state when that decides. */
function violations({ violation, source, destination }: World): string[] {
  const inTheEnd = source.runsGuest && destination.runsGuest ? ['both run in the end'] : [];
  return violation === null ? inTheEnd : [violation, ...inTheEnd];
}

function isStateLie(world: World, [index, fault]: [number, Fault]): boolean {
  return fault === 'lie' && world.calls[index]?.what === 'state';
}

const settings: (WorldOptions & { readonly name: string })[] = [
  { name: 'everything offered', sourceFlags: 7n, destinationFlags: 7n },
  { name: 'PRE_COPY without P2P', sourceFlags: 5n, destinationFlags: 5n },
  { name: 'P2P without PRE_COPY', sourceFlags: 3n, destinationFlags: 3n },
  { name: 'stop-and-copy only', sourceFlags: 1n, destinationFlags: 1n },
  { name: 'no claims', sourceFlags: 7n, destinationFlags: 7n, claims: false },
  { name: 'no estimates', sourceFlags: 7n, destinationFlags: 7n, estimates: false },
];

describe.each(settings)('one failure at any call, $name', (options) => {
  it.each(FAULTS)(
    '%s: never two running devices, and the owner reported is the owner',
    { timeout: LONG_MS },
    async (fault) => {
      const { world } = await run(options);
      const calls = world.calls.length;
      expect(calls).toBeGreaterThan(15);
      for (let index = 0; index < calls; index += 1) {
        const once = await run({ ...options, faults: new Map([[index, fault]]) });
        const where = `${fault} at call ${index}, ${describeCall(once.world, index)}`;
        expect(complaints(once), where).toEqual([]);
      }
    },
  );

  it.each(ANSWERABLE)(
    '%s: while both ends answer, the guest has its device afterwards',
    { timeout: LONG_MS },
    async (fault) => {
      const { world } = await run(options);
      for (let index = 0; index < world.calls.length; index += 1) {
        const once = await run({ ...options, faults: new Map([[index, fault]]) });
        const where = `${fault} at call ${index}, ${describeCall(once.world, index)}`;
        const { source, destination } = once.world;
        expect(source.runsGuest || destination.runsGuest, where).toBe(true);
        if (isRefusal(once)) continue;
        expect(once.result.owner, where).toBe(source.runsGuest ? 'source' : 'destination');
        expect(destination.content === null || destination.runsGuest, `${where}: rolled back`).toBe(true);
      }
    },
  );
});

/** All pairs are some 100,000 runs; each so-many-th of them is enough for every change. */
const STRIDE = process.env['FERRY_CHAOS'] === 'long' ? 1 : 97;

describe('two failures, the second one during what the first one caused', () => {
  it.each(FAULTS)('%s first', { timeout: LONG_MS }, async (first) => {
    const { world } = await run({});
    let count = FAULTS.indexOf(first);
    for (let index = 0; index < world.calls.length; index += 1) {
      const once = await run({ faults: new Map([[index, first]]) });
      for (let next = index + 1; next < once.world.calls.length; next += 1) {
        for (const second of FAULTS) {
          count += 1;
          if (count % STRIDE === 0) await checkPair([index, first], [next, second]);
        }
      }
    }
  });
});

function isRefusal({ result }: Run): boolean {
  return result instanceof MigrationError && result.code === 'ERR_MIGRATION_REFUSED';
}

async function checkPair(first: [number, Fault], second: [number, Fault]): Promise<void> {
  const twice = await run({ faults: new Map([first, second]) });
  const blind = isStateLie(twice.world, first) || isStateLie(twice.world, second);
  const found = blind ? violations(twice.world) : complaints(twice);
  if (found.length === 0) return;
  const where = [first, second].map(([index, fault]) => `${fault} at ${describeCall(twice.world, index)}`);
  throw new Error(`${where.join(', then ')}: ${found.join('; ')}`);
}

function describeCall(world: World, index: number): string {
  const call = world.calls[index];
  return call === undefined ? 'no call' : `${call.end}.${call.what}`;
}
