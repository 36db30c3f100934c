export { BEHAVIOURS } from './behaviours.ts';
export { type CheckClientOptions, checkClient } from './check-client.ts';
export { CLIENT_RULES } from './rules/index.ts';
export type { Behaviour, Deed, DeedKind, Offers, Step, When } from './script.ts';
export { parseScript, ScriptError } from './script-file.ts';
