import type { Reactor } from '../transport/index.ts';
import { HandoverError } from './handover-error.ts';

/** How often what has to pass by itself is looked at, in milliseconds. */
const LOOK_MS = 1;

/** Waits a moment. */
export function aMoment(reactor: Reactor): Promise<void> {
  return new Promise((resolve) => {
    reactor.after(LOOK_MS, resolve);
  });
}

/** Waits until there is no reason against it any more. Throws HandoverError ERR_HANDOVER_TIMEOUT with the reason. */
export async function untilNothing(
  reactor: Reactor,
  reasonAgainst: () => string | null,
  limitMs: number,
): Promise<void> {
  const end = performance.now() + limitMs;
  for (let reason = reasonAgainst(); reason !== null; reason = reasonAgainst()) {
    if (performance.now() > end) throw busy(reason);
    await aMoment(reactor);
  }
}

/** The device can't be handed over at this moment. */
export function busy(reason: string): HandoverError {
  return new HandoverError('ERR_HANDOVER_TIMEOUT', `the device did not come to rest: ${reason}`);
}
