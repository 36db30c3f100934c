export { absentEnd } from './absent-end.ts';
export { type ClientEndOptions, clientEnd } from './client-end.ts';
export { type Clock, systemClock } from './clock.ts';
export { type ChangeableLimits, MigrationControl, type MigrationStatus } from './control.ts';
export type { Convergence, Iteration } from './convergence.ts';
export { deviceEnd } from './device-end.ts';
export {
  type DirtyTracker,
  type DmaLogger,
  dmaTracker,
  vmmTracker,
  type WriteReporter,
} from './dirty-tracker.ts';
export type { GuestMemorySink, GuestMemorySource, GuestMemoryTarget } from './guest-memory.ts';
export { GuestMemoryError, type GuestMemoryErrorCode } from './guest-memory-error.ts';
export { DEFAULT_LIMITS, type MigrationLimits } from './limits.ts';
export type { Manifest, ManifestDevice } from './manifest.ts';
export { MappedMemorySource } from './mapped-memory-source.ts';
export { MappedMemoryTarget, type MappedMemoryTargetOptions } from './mapped-memory-target.ts';
export type { MemoryRegion } from './memory-region.ts';
export { type MigrateOptions, migrate, preflight } from './migrate.ts';
export type {
  ClaimTicket,
  ConfigurationNeed,
  EndInspection,
  MigrationEnd,
  PrecopyEstimate,
} from './migration-end.ts';
export { type Aftermath, MigrationError, type MigrationErrorCode, type Owner } from './migration-error.ts';
export { PHASES, type Phase } from './phase.ts';
export type { PeerNames } from './plan.ts';
export { compareManifests, type Verdict } from './preflight.ts';
export type { MigrationEvent, MigrationProgress } from './recorder.ts';
export { type RecoverOptions, recover } from './recover.ts';
export type { Recovery } from './recovery.ts';
export type { MigrationReport, PhaseReport, ProgressSample } from './report.ts';
export { type RestoreOptions, restore } from './restore.ts';
export { type ReceiverReport, type RunReceiverOptions, runReceiver } from './run-receiver.ts';
export { type RunSenderOptions, runSender, type SendOptions } from './run-sender.ts';
export { type SaveOptions, type SaveReport, save } from './save.ts';
export { readSavedContent, type SavedContent, type SavedDevice } from './saved-content.ts';
export type { Leave } from './scribe.ts';
export type { RunSideOptions } from './side-options.ts';
export type { MigrationHooks } from './side-performer.ts';
export type { StateChange } from './side-report.ts';
export type { Decision, EndName, HookName } from './step.ts';
export { type Culprit, StepError, type StepErrorCode } from './step-error.ts';
export { V1End, type V1EndOptions } from './v1-end.ts';
export { asTyped } from './words.ts';
