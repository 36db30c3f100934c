export { type Change, type ChangeOutcome, type ChangeStep, changeByArcs, changeByFlips } from './change.ts';
export { clearThenSet } from './clear-then-set.ts';
export {
  isErrorV1,
  isValidV1,
  parseV1State,
  setErrorV1,
  V1_RESET_STATE,
  V1_STATE_MASK,
  V1Bit,
  V1State,
  v1Bits,
  v1Name,
  v1ReservedBits,
  v1SessionKind,
} from './device-state.ts';
export { DRIVER_ACTIONS, type DriverAction, driverActions } from './driver-actions.ts';
export { FsmState, fsmBits, fsmPath, fsmStateName, renumberToV2 } from './fsm.ts';
export { type AlgorithmDifference, algorithmDifference } from './remarks.ts';
export { V1_RULES } from './rules.ts';
