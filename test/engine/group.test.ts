import { describe, expect, it } from 'vitest';
import { MigrationError, migrate, preflight } from '../../src/engine/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { FakeClock } from './fake-clock.ts';
import { type Call, World } from './fake-world.ts';

const { RUNNING, STOP, STOP_COPY, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P } = MigrationState;

/** As many pairs of devices as there are flags; what was asked of all of them, in order. */
function group(...flags: bigint[]) {
  const clock = new FakeClock();
  const calls: Call[] = [];
  const worlds = flags.map(
    (each, i) => new World(clock, { sourceFlags: each, destinationFlags: each, calls, suffix: String(i) }),
  );
  const from = worlds.map(({ source }) => source);
  const to = worlds.map(({ destination }) => destination);
  const sets = (end: string) =>
    calls
      .filter((call) => call.end.startsWith(end) && call.what.startsWith('setState'))
      .map(({ end: name, what }) => [Number(name.slice(end.length)), Number(what.slice('setState '.length))]);
  return { clock, worlds, from, to, sets };
}

describe('a group', () => {
  it('moves as one: all devices stop before any is read to its end, and all run before the migration ends', async () => {
    const { clock, worlds, from, to } = group(7n, 7n, 7n);
    const report = await migrate(from, to, { clock });
    expect(worlds.every(({ destination, source }) => destination.runsGuest && !source.runsGuest)).toBe(true);
    expect(report.bytes.total).toBe(3 * 32);
    expect(report.source).toBe('source0, source1, source2');
    expect(report.timeline.source.map(({ device }) => device)).toContain(2);
    // As it was found, RESUMING, STOP, RUNNING_P2P, RUNNING.
    expect(report.timeline.destination.length).toBe(3 * 5);
  });

  it('mixes devices with and without PRE_COPY: each goes to its own P2P state, all before any stops', async () => {
    const { clock, from, to, sets } = group(7n, 3n);
    await migrate(from, to, { clock });
    expect(sets('source')).toEqual([
      [0, PRE_COPY],
      [1, RUNNING_P2P],
      [0, PRE_COPY_P2P],
      [1, STOP_COPY],
      [0, STOP_COPY],
      [0, STOP],
      [1, STOP],
    ]);
  });

  it('of which one lacks P2P is refused, with the reason', async () => {
    const { clock, from, to, sets } = group(7n, 5n);
    const error = await migrate(from, to, { clock }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'ERR_MIGRATION_REFUSED', owner: 'source' });
    expect(String(error)).toContain(
      'source1 at the source has no P2P states, so another one could write to it',
    );
    expect(sets('source')).toEqual([]);
  });

  it('of which one lacks P2P is moved when somebody insists', async () => {
    const { clock, from, to, worlds } = group(7n, 5n);
    await migrate(from, to, { clock, force: true });
    expect(worlds.every(({ destination }) => destination.runsGuest)).toBe(true);
  });

  it('needs as many devices on both sides', async () => {
    const { clock, from, to } = group(7n, 7n);
    await expect(migrate(from, to.slice(0, 1), { clock })).rejects.toThrow(
      'the source has 2 devices, and the destination 1',
    );
  });

  it('that fails at one device names it, and goes back as a whole', async () => {
    const { clock, from, to, worlds } = group(7n, 7n);
    const [, second] = to;
    if (second === undefined) throw new Error('there are two');
    second.write = () => Promise.reject(new Error('no room'));
    const error = await migrate(from, to, { clock }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(MigrationError);
    expect(String(error)).toContain("the destination's device 1 (destination1) refused data: no room");
    expect(worlds.map(({ source }) => source.runsGuest)).toEqual([true, true]);
    expect(error).toMatchObject({ sourceStates: [RUNNING, RUNNING], destinationStates: [RUNNING, RUNNING] });
  });
});

describe('a look before anything moves', () => {
  it('says that it would work, and changes nothing', async () => {
    const { clock, from, to, sets, worlds } = group(7n, 7n);
    expect(await preflight(from, to, { clock })).toEqual({ reasons: [], notes: [] });
    const report = await migrate(from, to, { clock, dryRun: true });
    expect(report).toMatchObject({ owner: 'source', dryRun: true, bytes: { total: 0 } });
    expect([...sets('source'), ...sets('destination')]).toEqual([]);
    expect(worlds.every(({ source }) => source.runsGuest)).toBe(true);
  });

  it('says everything that speaks against it', async () => {
    const { clock, from, to, worlds } = group(7n, 7n);
    const [first, second] = worlds;
    if (first === undefined || second === undefined) throw new Error('there are two');
    first.destination.busy = 'another control connection drives its migration';
    second.destination.identity = { vendor: 1, device: 9 };
    const { reasons } = await preflight(from, to, { clock });
    expect(reasons).toEqual([
      "the destination's device 0 (destination0) is busy: another control connection drives its migration",
      'the two devices are not the same (device 1): device is 0x2 at the source and 0x9 at the destination',
    ]);
  });

  it('notes what nothing guards, and storage that both use', async () => {
    const { clock, from, to, worlds } = group(7n);
    const [world] = worlds;
    if (world === undefined) throw new Error('there is one');
    for (const end of [world.source, world.destination]) {
      end.inspect = async () => ({ identity: null, busy: null, backEnds: ['/srv/disk.img'] });
      delete end.claim;
    }
    const { notes } = await preflight(from, to, { clock });
    expect(notes).toEqual([
      'the source knows no claims: nothing keeps others from starting it or resetting it meanwhile',
      'the destination knows no claims: nothing keeps others from starting it or resetting it meanwhile',
      'both use /srv/disk.img: it has to be the same storage on both hosts, or none',
    ]);
  });
});
