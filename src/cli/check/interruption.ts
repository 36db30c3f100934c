import { discardRemains } from '../../check/index.ts';
import { printError } from '../output/terminal.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Is aborted by the first signal: what is under way comes to its end. The second one ends this process as usual, but
 * not before everything that it has started.
 */
export function interruption(): AbortSignal {
  const stop = new AbortController();
  const take = (signal: NodeJS.Signals): void => {
    if (!stop.signal.aborted) {
      printError('ferry: ends when what is being tried is over; again ends it at once');
      return stop.abort();
    }
    discardRemains();
    for (const each of SIGNALS) process.off(each, take);
    process.kill(process.pid, signal);
  };
  for (const each of SIGNALS) process.on(each, take);
  return stop.signal;
}
