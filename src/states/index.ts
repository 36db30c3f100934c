export { ArcError, type ArcFailure } from './arc-error.ts';
export { type Arc, FULL_ARCS } from './arcs.ts';
export { toDot } from './diagram/dot.ts';
export { toMermaid } from './diagram/mermaid.ts';
export { type RuleEdge, type RuleGraph, type RuleNode, ruleGraph } from './diagram/rule-graph.ts';
export * from './log/index.ts';
export { type MigrationMachine, migrationMachine } from './machine.ts';
export { MigrationFlag } from './migration-flags.ts';
export {
  isRunning,
  isSaving,
  MigrationState,
  mayInitiateDma,
  parseState,
  RESET_STATE,
  type SessionKind,
  sessionKind,
  stateName,
} from './migration-state.ts';
export { RULE_SETS, ruleSet, ruleStateName, ruleStateText } from './rules/catalogue.ts';
export { type Answer, type ComparedChange, compareRules } from './rules/compare.ts';
export type { Judgement, RuleSet, RuleState, RuleStep, Verdict } from './rules/rule-set.ts';
export { StateError, type StateErrorCode } from './state-error.ts';
export * from './v1/index.ts';
export { type ArcStep, walk } from './walk.ts';
