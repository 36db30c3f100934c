import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import type { Reactor } from '../transport/index.ts';

/** How long to wait at most, in milliseconds. */
const LIMIT_MS = 100;

/**
 * Settles when the garbage collector has been through everything, or a while later. To map much memory sets it going, as
 * if that had to be found room for, and it would be in the way when a VMM waits.
 */
export function collected(reactor: Reactor): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      observer.disconnect();
      timer.close();
      resolve();
    };
    const observer = new PerformanceObserver((list) => {
      if (list.getEntries().some(isMajor)) end();
    });
    const timer = reactor.after(LIMIT_MS, end);
    observer.observe({ entryTypes: ['gc'] });
  });
}

function isMajor(entry: PerformanceEntry): boolean {
  const detail: unknown = Reflect.get(entry, 'detail');
  if (typeof detail !== 'object' || detail === null) return false;
  return Reflect.get(detail, 'kind') === constants.NODE_PERFORMANCE_GC_MAJOR;
}
