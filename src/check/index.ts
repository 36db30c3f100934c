export * from './clients/index.ts';
export { Exchange, type Shown } from './exchange.ts';
export { discardRemains } from './remains.ts';
export { renderJson } from './report/json.ts';
export { renderJunit } from './report/junit.ts';
export { type Palette, PLAIN, peopleLine, renderPeople, summaryLine } from './report/people.ts';
export { FORMATS, type Format, renderReport } from './report/render.ts';
export { renderTap } from './report/tap.ts';
export {
  bySeverity,
  OUTCOMES,
  type Outcome,
  type Report,
  type Result,
  type Summary,
  summarize,
} from './result.ts';
export {
  type Clause,
  factsOf,
  NEEDS,
  type Need,
  practice,
  type Rule,
  type RuleDeclaration,
  type RuleFacts,
  rule,
  SEVERITIES,
  type Severity,
  specification,
  uapi,
} from './rule.ts';
export { type RunOptions, runRules, type Stage, type Trial } from './run-rules.ts';
export { areasOf, type Selection, select, UnknownRuleError } from './selection.ts';
export { type CheckServerOptions, checkServer } from './servers/check-server.ts';
export { type Facts, PROPOSAL } from './servers/facts.ts';
export { type Instance, type Launcher, runningServer } from './servers/instance.ts';
export { SERVER_RULES } from './servers/rules/index.ts';
export type { ServerRule } from './servers/server-rule.ts';
export { type SpawnOptions, spawnedServers } from './servers/spawned-server.ts';
export { ServerStage, type ServerStageOptions } from './servers/stage.ts';
export { ServerWorld } from './servers/world.ts';
export {
  BrokenRuleError,
  broken,
  demand,
  type Finding,
  given,
  InconclusiveError,
  inconclusive,
  NotApplicableError,
  notApplicable,
} from './verdict.ts';
