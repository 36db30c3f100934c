import type { RuleStep } from '../rules/rule-set.ts';
import { parseV1State, v1SessionKind } from './device-state.ts';
import { DRIVER_ACTIONS, driverActions } from './driver-actions.ts';

/** One write of device_state as a step, with what a driver does on it. */
function v1Step(from: number, to: number): RuleStep {
  const actions = driverActions(from, to);
  const before = sessionOf(from);
  const after = sessionOf(to);
  return {
    from,
    to,
    actions,
    duties: actions.map((action) => sentence(DRIVER_ACTIONS[action])),
    opensSession: after !== null && after !== before,
    endsSession: before !== null && after !== before,
  };
}

/** The steps of a path from `from` on. */
export function v1Steps(from: number, path: readonly number[]): readonly RuleStep[] {
  return path.map((to, index) => v1Step(path[index - 1] ?? from, to));
}

function sessionOf(value: number): 'saving' | 'resuming' | null {
  const state = parseV1State(value);
  return state === null ? null : v1SessionKind(state);
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
