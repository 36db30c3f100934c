export { checkSequence, type Finding, type SequenceVerdict } from './check-log.ts';
export { type LogEvent, LogLimits, type LogSequence, type Place, type StateLog } from './log.ts';
export { findState, type LogState, type NumberMeaning } from './log-state.ts';
export { parseStateLog } from './parse-log.ts';
