import { describe, expect, it } from 'vitest';
import type { MigrationError, Timeline } from '../../src/engine/index.ts';
import { keepIn } from '../../src/engine/kept-list.ts';
import { MigrationState } from '../../src/states/index.ts';
import { failure, move, newWorld } from './moves.ts';

const { RUNNING, STOP, STOP_COPY, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, RESUMING } = MigrationState;

const statesOf = (timeline: Timeline, end: 'source' | 'destination') =>
  timeline[end].map(({ state }) => state);
const decisionsOf = ({ milestones }: Timeline) =>
  milestones.flatMap((each) => (each.type === 'decision' ? [`${each.end} ${each.decision}`] : []));

function timelineIn(error: MigrationError): Timeline {
  if (error.timeline === null) throw new Error('the failure has no timeline');
  return error.timeline;
}

describe('the timeline of a migration', () => {
  it('has the states of both sides from the first that was seen', async () => {
    const { timeline } = await move(newWorld());
    expect(statesOf(timeline, 'source')).toEqual([RUNNING, PRE_COPY, PRE_COPY_P2P, STOP_COPY, STOP]);
    expect(statesOf(timeline, 'destination')).toEqual([RUNNING, RESUMING, STOP, RUNNING_P2P, RUNNING]);
    expect(timeline.devices).toEqual({ source: ['source'], destination: ['destination'] });
  });

  it('has the decisions and what was said, but not what is routine', async () => {
    const { timeline } = await move(newWorld());
    expect(decisionsOf(timeline).sort()).toEqual([
      ...['destination BEGIN', 'destination DONE', 'destination READY', 'destination RUN'],
      ...['source BEGIN', 'source COMMIT', 'source DONE'],
    ]);
    const said = timeline.milestones.flatMap((each) => (each.type === 'message' ? [each.kind] : []));
    expect(said).toEqual(['MANIFEST', 'VERDICT', 'OPEN', 'OPENED', 'COMPLETE', 'READY', 'COMMIT', 'RUNNING']);
  });

  it('tells before each decision what is left and what would fit', async () => {
    const world = newWorld();
    const { source } = world;
    const read = source.read.bind(source);
    const rest = [4_000_000n, 2_000_000n, 900_000n];
    source.precopyInfo = async () => ({ initialBytes: 0n, dirtyBytes: rest.shift() ?? 0n });
    source.read = (max, consume) => {
      world.clock.advance(10);
      return read(max, consume);
    };
    const { timeline, iterations } = await move(world, { limits: { downtimeMs: 200, strict: false } });
    const { assessments, rounds } = timeline;
    expect(rounds.length).toBe(iterations);
    expect(assessments.map(({ left }) => left).slice(0, 3)).toEqual([4_000_000, 2_000_000, 900_000]);
    expect(assessments[0]).toMatchObject({ round: 0, fits: null, downtimeLimitMs: 200 });
    expect(assessments[1]).toMatchObject({ round: 1, fits: expect.any(Number) });
    const last = assessments.at(-1);
    expect([last?.round, last?.left ?? Number.NaN]).toEqual([iterations, expect.any(Number)]);
    expect(last?.left ?? Number.NaN).toBeLessThanOrEqual(last?.fits ?? 0);
  });

  it('of one that failed goes on until it was undone, with both sides', async () => {
    const world = newWorld();
    const fail = () => {
      throw new Error('no room');
    };
    const timeline = timelineIn(await failure(world, { hooks: { beforeRun: fail } }));
    expect(statesOf(timeline, 'source').slice(-3)).toEqual([STOP_COPY, RUNNING_P2P, RUNNING]);
    expect(statesOf(timeline, 'destination')).toEqual([RUNNING, RESUMING, STOP, RUNNING]);
    expect(timeline.phases.at(-1)?.phase).toBe('roll-back');
    expect(decisionsOf(timeline).sort()).toEqual([
      ...['destination ABORT', 'destination BEGIN', 'source ABORT', 'source BEGIN'],
    ]);
    expect(timeline.totalMs).toBeGreaterThanOrEqual(timeline.phases.at(-1)?.startMs ?? Number.NaN);
  });

  it('shows a device that no longer answers', async () => {
    const world = newWorld();
    const die = async () => {
      world.source.state = async () => {
        throw new Error('the connection is closed');
      };
      throw new Error('the VMM is gone');
    };
    const timeline = timelineIn(await failure(world, { hooks: { beforeRun: die } }));
    expect(statesOf(timeline, 'source').at(-1)).toBeNull();
  });

  it('of one that was refused has no rounds', async () => {
    const timeline = timelineIn(await failure(newWorld({ destinationFlags: null })));
    expect(timeline.phases.map(({ phase }) => phase)).toEqual(['check']);
    expect([timeline.rounds, timeline.assessments]).toEqual([[], []]);
  });
});

describe('what is kept', () => {
  it('has its beginning and its end, however much there was', () => {
    const list: number[] = [];
    for (let i = 0; i < 1000; i += 1) keepIn(list, i, 8);
    expect(list).toEqual([0, 1, 2, 3, 996, 997, 998, 999]);
  });
});
