import type { Reactor } from '../transport/index.ts';
import { ServerError } from './server-error.ts';

/**
 * A change of state that is waited for no longer than `limitMs` milliseconds: then `late` is called, and whoever waits
 * is told ETIMEDOUT, whatever becomes of it.
 */
export function withinLimit(
  pending: Promise<void>,
  reactor: Reactor,
  limitMs: number,
  late: () => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = reactor.after(limitMs, () => {
      late();
      reject(new ServerError('ERR_TRANSITION_TIMEOUT', 'the device does not finish the change of its state'));
    });
    pending.then(resolve, reject).finally(() => timer.close());
  });
}
