import { describe, expect, it } from 'vitest';
import { MigrationError, type Timeline } from '../../src/engine/index.ts';
import { FerryError } from '../../src/errors/index.ts';
import { renderReport, storyOfFailure } from '../../src/report/index.ts';
import { timelineWith } from './timelines.ts';

const failed = (timeline: Timeline | null, aftermath = {}) => {
  const reason = new FerryError('ERR_STEP_FAILED', 'no room; <b>no</b> memory', { errno: 28 });
  const known = { sourceStates: [2], destinationStates: [null], outcome: 'It runs on at the source' };
  const told = timeline === null ? {} : { timeline };
  return new MigrationError('ERR_MIGRATION_FAILED', reason, {
    ...{ owner: 'source', phase: 'verify', nextSteps: ['ferry inspect a'], ...known, ...told, ...aftermath },
  });
};
const render = (timeline: Timeline | null, aftermath = {}) =>
  renderReport(storyOfFailure(failed(timeline, aftermath), 'Migration'));

describe('the page', () => {
  it('tells why, who has the devices, and what to do', async () => {
    const page = await render(timelineWith());
    for (const text of [
      '<title>Migration failed</title>',
      '<li>no room</li><li>&lt;b&gt;no&lt;/b&gt; memory</li>',
      '<code>ERR_MIGRATION_FAILED</code> ENOSPC, in phase verify',
      '<b>the source</b>',
      '<code>ferry inspect a</code>',
    ])
      expect(page).toContain(text);
  });

  it('says doubt as such', async () => {
    expect(await render(timelineWith(), { owner: 'in doubt' })).toContain(
      '<title>Migration in doubt</title>',
    );
  });

  it('fetches nothing and runs nothing', async () => {
    const page = await render(timelineWith());
    expect(page).toContain('content="default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;"');
    expect(page).not.toMatch(/<script|<link|<img|\s(?:href|src|on\w+)=|url\((?!#)/);
  });

  it('explains every bar of a state when it is pointed at', async () => {
    const page = await render(timelineWith());
    expect(page).toContain('<title>source  /run/a0.sock: PRE_COPY, 1.00 s, from 10.0 ms to 1.01 s</title>');
    expect(page).toContain(
      '<title>destination  /run/b0.sock: RUNNING_P2P, 5.0 ms, from 1.04 s to 1.05 s</title>',
    );
  });

  it('enlarges what is short: the blackout, or what a destination knows of it', async () => {
    expect(await render(timelineWith())).toContain('The blackout, enlarged');
    expect(await render(timelineWith({ side: 'destination' }))).toContain('The hand-over, enlarged');
    const [, ...short] = timelineWith().phases.slice(1);
    const phases = short.map((phase) => ({ ...phase, startMs: phase.startMs - 1010 }));
    expect(await render(timelineWith({ phases, totalMs: 50 }))).not.toContain('enlarged');
  });

  it('shows a device that does not answer, and a state that nobody knows', async () => {
    const source = [
      { device: 0, state: null, atMs: 5 },
      { device: 0, state: 99, atMs: 500 },
    ];
    const page = await render(timelineWith({ source }));
    expect(page).toContain('no answer');
    expect(page).toContain('99');
  });

  it('counts rounds for the side that is told of them', async () => {
    expect(await render(timelineWith())).toContain('1 whole round of pre-copy');
    const there = await render(timelineWith({ side: 'destination', rounds: [] }));
    expect(there).not.toMatch(/rounds? of pre-copy/);
  });

  it('is written of what failed before it began', async () => {
    const error = new FerryError('ERR_CONNECT', 'nobody is there', { errno: 111 });
    const page = await renderReport(storyOfFailure(error, 'Migration', ['start it']));
    expect(page).toContain('nobody is there');
    expect(page).toContain('<code>start it</code>');
    expect(page).not.toContain('<svg');
    expect(await renderReport(storyOfFailure('torn', 'Migration'))).toContain('torn');
  });

  it('is of bounded size, however much there is to tell', async () => {
    const many = timelineWith({}, 256);
    const grown = <T>(list: readonly T[]): readonly T[] =>
      Array.from({ length: 4096 }, (_, i) => list[i % list.length]).filter((it): it is T => it !== undefined);
    const page = await render({
      ...many,
      ...{ phases: grown(many.phases), milestones: grown(many.milestones), samples: grown(many.samples) },
      ...{ rounds: grown(many.rounds), assessments: grown(many.assessments) },
    });
    expect(page.length).toBeLessThan(8 * 1024 ** 2);
  });

  it.each([0, Number.MIN_VALUE, 1e-3])('is drawn of a migration that took %d ms', async (totalMs) => {
    expect(await render(timelineWith({ totalMs }))).toContain('Migration failed');
  });
});
