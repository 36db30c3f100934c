import { dutiesOf } from '../arcs.ts';
import { MigrationState, type SessionKind, sessionKind } from '../migration-state.ts';
import { type Judgement, type RuleSet, type RuleState, type RuleStep, refused } from '../rules/rule-set.ts';
import { V1_RESET_STATE, V1_STATE_MASK, v1Name } from './device-state.ts';
import { driverActions } from './driver-actions.ts';
import { FsmState, fsmBits, fsmPath, fsmStateName, isFsmP2p, renumberToV2 } from './fsm.ts';
import { changeRemarks } from './remarks.ts';

/** The state machine of January 2022, for devices with the P2P states or without. */
export function fsmRules({ p2p }: { readonly p2p: boolean }): RuleSet {
  return {
    id: p2p ? 'v1-2022-01' : 'v1-2022-01-no-p2p',
    title: `state machine over the numbers of v1, January 2022${p2p ? '' : ', device without P2P'}`,
    source: 'kvm list, "[PATCH RFC] vfio: Revise and update the migration uAPI description", 14 January 2022',
    interface: 'v1',
    states: fsmStates(p2p),
    resetState: V1_RESET_STATE,
    judge: (from, to) => judge(from, to, p2p),
  };
}

function fsmStates(p2p: boolean): readonly RuleState[] {
  return Array.from({ length: V1_STATE_MASK + 1 }, (_, code) => {
    const valid = p2p || !isFsmP2p(code);
    return { code, name: valid ? (fsmStateName(code) ?? v1Name(code)) : v1Name(code), valid };
  });
}

function judge(from: number, to: number, p2p: boolean): Judgement {
  const remarks = changeRemarks(from, to, []);
  const path = fsmPath(from, to, { p2p });
  if (path === null) return refused(refusal(from, to, p2p), remarks);
  const steps = path.map((state, index) => fsmStep(path[index - 1] ?? from, state, p2p));
  return { verdict: 'allowed', path, steps, reason: null, remarks };
}

function refusal(from: number, to: number, p2p: boolean): string {
  for (const code of [from, to]) {
    if (fsmStateName(code) === null) return `${code} is no state`;
    if (!p2p && isFsmP2p(code)) return `the device has no state ${fsmStateName(code)}`;
  }
  if (from === FsmState.ERROR) return 'only a reset leaves ERROR';
  if (to === FsmState.ERROR) return 'ERROR is entered only by a failure';
  return 'a new saving session begins in a running state or in STOP';
}

function fsmStep(from: number, to: number, p2p: boolean): RuleStep {
  const before = v2State(from);
  const after = v2State(to);
  const [sessionBefore, sessionAfter]: (SessionKind | null)[] = [sessionKind(before), sessionKind(after)];
  return {
    from,
    to,
    actions: driverActions(fsmBits(from), fsmBits(to), { ndma: true }),
    duties: dutiesOf(before, after, { p2p }),
    opensSession: sessionAfter !== null && sessionAfter !== sessionBefore,
    endsSession: sessionBefore !== null && sessionAfter !== sessionBefore,
  };
}

function v2State(code: number): MigrationState {
  return renumberToV2(code) ?? MigrationState.ERROR;
}
