import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { ResetRun } from '../../src/server/reset-run.ts';

/** A device that resets as a test says, and what is told of it. */
function running(reset: () => void | Promise<void>) {
  const events: string[] = [];
  let count = 0;
  const run = new ResetRun(
    {
      reset: () => {
        count += 1;
        return reset();
      },
    },
    {
      done: () => events.push('done'),
      failed: ({ message, errno }) => events.push(`${message}, errno ${errno}`),
      over: () => events.push('over'),
    },
  );
  return { run, events, resets: () => count };
}

describe('a reset', () => {
  it('is over at once where the device can do it at once', () => {
    const { run, events } = running(() => {});
    expect(run.run('device')).toBeUndefined();
    expect([run.underWay, events]).toEqual([false, ['done']]);
  });

  it('that takes its time is the same for all who ask meanwhile', async () => {
    let finish = (): void => {};
    const { run, events, resets } = running(
      () =>
        new Promise((resolve) => {
          finish = resolve;
        }),
    );
    const both = [run.run('device'), run.run('device')];
    expect([run.underWay, events, resets()]).toEqual([true, [], 1]);
    finish();
    await Promise.all(both);
    expect([run.underWay, events, resets()]).toEqual([false, ['done', 'over'], 1]);
  });

  it.each([
    [
      'at once',
      () => {
        throw new Error('broken');
      },
      [],
    ],
    ['later', () => Promise.reject(new Error('broken')), ['over']],
  ])('that fails %s is told as an error with its reason', async (_, reset, rest) => {
    const { run, events } = running(reset);
    await expect(async () => run.run('device')).rejects.toMatchObject({ errno: Errno.EIO });
    expect(events).toEqual([`the device could not be reset: broken, errno ${Errno.EIO}`, ...rest]);
    expect(run.underWay).toBe(false);
  });
});
