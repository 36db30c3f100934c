import { V1_STATE_MASK, V1Bit } from './device-state.ts';

/**
 * The states that a change passes through when its bits are flipped one at a time: first those that go off (RUNNING,
 * SAVING, RESUMING), then those that come on (RESUMING, SAVING, RUNNING). The last one is `to`; empty when nothing
 * changes. RESUMING is thereby never on together with another bit (kvm list, 13 December 2021).
 */
export function clearThenSet(from: number, to: number): readonly number[] {
  const path: number[] = [];
  let state = from & V1_STATE_MASK;
  const target = to & V1_STATE_MASK;
  for (const bit of [V1Bit.RUNNING, V1Bit.SAVING, V1Bit.RESUMING]) {
    if ((state & bit) === 0 || (target & bit) !== 0) continue;
    state &= ~bit;
    path.push(state);
  }
  for (const bit of [V1Bit.RESUMING, V1Bit.SAVING, V1Bit.RUNNING]) {
    if ((state & bit) !== 0 || (target & bit) === 0) continue;
    state |= bit;
    path.push(state);
  }
  return path;
}
