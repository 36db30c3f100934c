import type { Clock } from './clock.ts';

/** `work`, or `late` when it takes too long. What it does afterwards is ignored. */
export function within<T>(clock: Clock, ms: number, work: Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(ms, () => reject(late()));
    work.then(resolve, reject).finally(() => timer.close());
  });
}
