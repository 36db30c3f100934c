export { type Clock, systemClock } from './clock.ts';
export { type ChangeableLimits, MigrationControl, type MigrationStatus } from './control.ts';
export { absentEnd } from './ends/absent-end.ts';
export { type ClientEndOptions, clientEnd } from './ends/client-end.ts';
export { type ConfigWrite, setupWrites } from './ends/config-setup.ts';
export { deviceEnd } from './ends/device-end.ts';
export {
  type DirtyTracker,
  type DmaLogger,
  dmaTracker,
  vmmTracker,
  type WriteReporter,
} from './guest-memory/dirty-tracker.ts';
export type { GuestMemorySink, GuestMemorySource, GuestMemoryTarget } from './guest-memory/guest-memory.ts';
export { GuestMemoryError, type GuestMemoryErrorCode } from './guest-memory/guest-memory-error.ts';
export { MappedMemorySource } from './guest-memory/mapped-memory-source.ts';
export { MappedMemoryTarget, type MappedMemoryTargetOptions } from './guest-memory/mapped-memory-target.ts';
export type { MemoryRegion } from './guest-memory/memory-region.ts';
export { DEFAULT_LIMITS, type MigrationLimits } from './limits.ts';
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
export type { Manifest, ManifestDevice } from './preflight/manifest.ts';
export { compareManifests, type Verdict } from './preflight/preflight.ts';
export type { MigrationEvent, MigrationProgress } from './recorder.ts';
export { type RecoverOptions, recover } from './recovery/recover.ts';
export type { Recovery } from './recovery/recovery.ts';
export type { MigrationReport, PhaseReport, ProgressSample } from './report.ts';
export { type ReceiverReport, type RunReceiverOptions, runReceiver } from './run-receiver.ts';
export { type RunSenderOptions, runSender, type SendOptions } from './run-sender.ts';
export { type RestoreOptions, restore } from './saving/restore.ts';
export { type SaveOptions, type SaveReport, save } from './saving/save.ts';
export { readSavedContent, type SavedContent, type SavedDevice } from './saving/saved-content.ts';
export type { Leave } from './saving/scribe.ts';
export type { Convergence, Iteration } from './sender/convergence.ts';
export type { RunSideOptions } from './side-options.ts';
export type { MigrationHooks } from './side-performer.ts';
export type { StateChange } from './side-report.ts';
export type { Decision, EndName, HookName } from './step.ts';
export { type Culprit, StepError, type StepErrorCode } from './step-error.ts';
export type { Assessment, Milestone, Timeline } from './timeline.ts';
export { V1End, type V1EndOptions } from './v1/v1-end.ts';
export { asTyped } from './words.ts';
