export { type DiagnoseOptions, diagnose } from './diagnose.ts';
export type { Diagnosis, NotLooked, Seen, TargetKind } from './diagnosis.ts';
export { CERTAINTIES, type Certainty, type Effect, type Finding, type Rule } from './finding.ts';
export { Host } from './gather/host.ts';
export { KERNEL_DEVICE_RULES, MACHINE_RULES, SOCKET_RULES } from './rules/index.ts';
