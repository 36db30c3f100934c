import { type Judgement, type RuleSet, refused } from '../rules/rule-set.ts';
import { clearThenSet } from './clear-then-set.ts';
import { isErrorV1, parseV1State, V1_RESET_STATE, V1_STATE_MASK, V1State, v1Name } from './device-state.ts';
import { fsmRules } from './fsm-rules.ts';
import { changeRemarks } from './remarks.ts';
import { v1Steps } from './steps.ts';
import { tableRules, v1States } from './table-rules.ts';
import { CHECK_2021, type ChangeRemark, DRAFT_2019, LIBVFIO_USER, UAPI_COMMENT } from './tables.ts';

/** What was said of the order of the flips (13 December), and in answer (14 December). */
const ANY_TO_ANY_REMARKS: readonly ChangeRemark[] = [
  [V1State.STOP, V1State.PRE_COPY, 'The author prefers that logging begins before the device runs.'],
  [V1State.RESUMING, V1State.PRE_COPY, 'The author prefers that logging begins before the device runs.'],
  [V1State.PRE_COPY, V1State.STOP, 'Either order would do; RUNNING first makes the algorithm symmetric.'],
  [
    V1State.STOP_COPY,
    V1State.PRE_COPY,
    'Answered: it is of no use, what it does to the data window is not defined, and a driver may have to fail it.',
  ],
];

/** Every valid state reaches every other, by flipping bits in a fixed order. */
const ANY_TO_ANY_2021: RuleSet = {
  id: 'v1-2021-12',
  title: 'any state to any other by clear-then-set, December 2021',
  source:
    'kvm list, "[RFC PATCH] vfio: Update/Clarify migration uAPI, add NDMA state", 9 and 13 December 2021',
  interface: 'v1',
  states: v1States(),
  resetState: V1_RESET_STATE,
  judge: judgeAnyToAny,
};

/** All published rules of v1, in the order in which they appeared; libvfio-user's last. */
export const V1_RULES: readonly RuleSet[] = [
  tableRules(DRAFT_2019),
  tableRules(UAPI_COMMENT),
  tableRules(CHECK_2021),
  ANY_TO_ANY_2021,
  fsmRules({ p2p: true }),
  fsmRules({ p2p: false }),
  tableRules(LIBVFIO_USER),
];

/** Reserved bits are for later use, and read-modify-write keeps them as they were: they are not looked at. */
function judgeAnyToAny(from: number, to: number): Judgement {
  const remarks = changeRemarks(from, to, ANY_TO_ANY_REMARKS);
  if (isErrorV1(from)) return refused('only a reset leaves ERROR', remarks);
  if (isErrorV1(to)) return refused('ERROR is entered only by a failure', remarks);
  for (const code of [from, to]) {
    if (parseV1State(code) === null) return refused(`${v1Name(code & V1_STATE_MASK)} is no state`, remarks);
  }
  const path = clearThenSet(from, to);
  return {
    verdict: 'allowed',
    path,
    steps: v1Steps(from & V1_STATE_MASK, path),
    reason: null,
    remarks,
  };
}
