import { perform, type VmSequence, type VmStep } from './step.ts';

/** How often something that is waited for is looked at, in milliseconds: when nothing tells of it, and when events do. */
const PERIOD_MS = 2;
const PERIOD_WITH_EVENT_MS = 50;

/** Looks until `look` gives something else than null, for so many milliseconds at most; then null. */
export function until<T>(ms: number, look: () => VmSequence<T | null>): VmSequence<T | null> {
  return lookAgain({ do: 'pause', ms: PERIOD_MS, event: null }, ms, look);
}

/** The same for how QEMU's migration stands, of which an event tells: it is looked at then, and now and then besides. */
export function untilMigration<T>(ms: number, look: () => VmSequence<T | null>): VmSequence<T | null> {
  return lookAgain({ do: 'pause', ms: PERIOD_WITH_EVENT_MS, event: 'MIGRATION' }, ms, look);
}

function* lookAgain<T>(pause: VmStep, ms: number, look: () => VmSequence<T | null>): VmSequence<T | null> {
  for (let left = ms; ; ) {
    const found = yield* look();
    if (found !== null || left <= 0) return found;
    left -= (yield* perform(pause, 'paused')).ms;
  }
}
