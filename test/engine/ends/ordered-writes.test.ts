import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OrderedWrites } from '../../../src/engine/ends/ordered-writes.ts';

/** A device that takes what it is given at once, and acknowledges it when told to. */
function device() {
  const log: string[] = [];
  const waiting: { settle: (fails: boolean) => void }[] = [];
  const acknowledged = (): Promise<void> =>
    new Promise((resolve, reject) => {
      waiting.push({ settle: (fails) => (fails ? reject(new Error('refused')) : resolve()) });
    });
  const note = (what: string): Promise<void> => {
    log.push(what);
    return acknowledged();
  };
  return { log, waiting, note };
}

const turns = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

describe('OrderedWrites', () => {
  it('lets data go straight through, several at a time', () => {
    const { log, note } = device();
    const writes = new OrderedWrites();
    for (const i of [1, 2, 3]) void writes.data(Uint8Array.of(i), (bytes) => note(`data ${bytes[0]}`));
    expect(log).toEqual(['data 1', 'data 2', 'data 3']);
  });

  it('keeps what is done alone behind the data before it and ahead of the data after it, of which it keeps a copy', async () => {
    const { log, waiting, note } = device();
    const writes = new OrderedWrites();
    const buffer = Uint8Array.of(1);
    const data = (): Promise<void> => writes.data(buffer, (bytes) => note(`data ${bytes[0]}`));
    const all = [data()];
    all.push(
      writes.alone(async () => {
        await note('first request');
        await note('second request');
      }),
    );
    buffer[0] = 2;
    all.push(data());
    buffer[0] = 9;
    const seen: string[][] = [];
    for (let i = 0; i < 4; i++) {
      await turns();
      seen.push([...log]);
      waiting[i]?.settle(false);
    }
    await Promise.all(all);
    expect(seen.map((each) => each.at(-1))).toEqual(['data 1', 'first request', 'second request', 'data 2']);
  });

  it('begins everything in the order of the calls, whatever fails', async () => {
    const calls = fc.array(fc.record({ alone: fc.boolean(), fails: fc.boolean(), pause: fc.boolean() }), {
      maxLength: 30,
    });
    await fc.assert(
      fc.asyncProperty(calls, async (plan) => {
        const { log, waiting, note } = device();
        const writes = new OrderedWrites();
        const outcomes: Promise<string>[] = [];
        for (const [i, { alone, pause }] of plan.entries()) {
          const work = alone
            ? writes.alone(() => note(`${i}`))
            : writes.data(Uint8Array.of(i), (bytes) => note(`${bytes[0]}`));
          outcomes.push(
            work.then(
              () => 'done',
              () => 'failed',
            ),
          );
          if (pause) await turns();
        }
        for (let done = 0; done < plan.length; done++) {
          await turns();
          waiting[done]?.settle(plan[done]?.fails ?? false);
        }
        expect(await Promise.all(outcomes)).toEqual(plan.map(({ fails }) => (fails ? 'failed' : 'done')));
        expect(log).toEqual(plan.map((_, i) => `${i}`));
      }),
    );
  });
});
