import type { Json } from '../protocol/index.ts';
import { listOf, MAX_DEVICES, objectOf } from './preflight/manifest.ts';
import { STEP_ERRORS, StepError, type StepErrorCode } from './step-error.ts';

const MAX_TEXT = 4096;
const MAX_REASONS = 1024;
const MAX_CHANGES = 4096;

/** What the destination says of the comparison. */
export interface VerdictMessage {
  readonly reasons: readonly string[];
  readonly notes: readonly string[];
  /** The migration flags of its devices; empty when it refuses. */
  readonly flags: readonly number[];
}

/** A change of a device's state, in the time of the side where it happened. */
export interface StateChange {
  readonly device: number;
  /** A state's number; null: it did not answer. */
  readonly state: number | null;
  /** Milliseconds since that side began. */
  readonly atMs: number;
}

/** How the destination's devices came where they are, in its time. */
export interface SideTimes {
  /** Changes of state, as many as fit. */
  readonly changes: readonly StateChange[];
  /** When it said OPENED, by which its other times can be placed. */
  readonly openedAtMs: number;
  /** When its devices ran. */
  readonly runningAtMs: number;
}

/** What the destination tells when it has been given the devices. */
export interface RunningReport extends SideTimes {
  /** Why they do not run although they are the destination's; null when they do, or are to stay stopped. */
  readonly problem: string | null;
  /** The states of its devices. */
  readonly states: readonly number[];
}

/** The body of a VERDICT. */
export function verdictToJson({ reasons, notes, flags }: VerdictMessage): Json {
  return { reasons: [...reasons], notes: [...notes], flags: [...flags] };
}

/** The body of a VERDICT that was received; null when it is none. */
export function verdictFromJson(json: Json): VerdictMessage | null {
  const fields = objectOf(json);
  const reasons = listOf(fields?.['reasons'], MAX_REASONS, textOf);
  const notes = listOf(fields?.['notes'], MAX_REASONS, textOf);
  const flags = listOf(fields?.['flags'], MAX_DEVICES, countOf);
  if (reasons === null || notes === null || flags === null) return null;
  return { reasons, notes, flags };
}

/** The body of a RUNNING. */
export function runningToJson(report: RunningReport): Json {
  const changes = report.changes
    .slice(0, MAX_CHANGES)
    .map(({ device, state, atMs }) => [device, state, atMs]);
  return { ...report, states: [...report.states], changes };
}

/** The body of a RUNNING that was received; null when it is none. */
export function runningFromJson(json: Json): RunningReport | null {
  const fields = objectOf(json);
  if (fields === null) return null;
  const states = listOf(fields['states'], MAX_DEVICES, countOf);
  const changes = listOf(fields['changes'], MAX_CHANGES, changeOf);
  const [openedAtMs, runningAtMs] = [timeOf(fields['openedAtMs']), timeOf(fields['runningAtMs'])];
  const { problem } = fields;
  if (states === null || changes === null || openedAtMs === null || runningAtMs === null) return null;
  if (problem !== null && textOf(problem) === null) return null;
  return { problem: textOf(problem), states, changes, openedAtMs, runningAtMs };
}

/** The body of an ABORT for a failure. */
export function reasonToJson({ code, message, errno }: StepError): Json {
  return { code, text: message.slice(0, MAX_TEXT), errno };
}

/** The failure that the other side tells of in an ABORT. What it says is quoted, not believed. */
export function reasonFromJson(json: Json, from: 'source' | 'destination'): StepError {
  const fields = objectOf(json);
  const text = textOf(fields?.['text']) ?? 'it gave no reason';
  const code = codeOf(fields?.['code']);
  const errno = fields?.['errno'];
  const known = typeof errno === 'number' && Number.isInteger(errno) && errno > 0 && errno < MAX_TEXT;
  return new StepError(code, from, text, undefined, known ? errno : STEP_ERRORS[code]);
}

function codeOf(json: Json | undefined): StepErrorCode {
  const found = Object.keys(STEP_ERRORS).find((code) => code === json);
  return isCode(found) ? found : 'ERR_STEP_FAILED';
}

function isCode(code: string | undefined): code is StepErrorCode {
  return code !== undefined && code in STEP_ERRORS;
}

function changeOf(json: Json | undefined): StateChange | null {
  if (!Array.isArray(json)) return null;
  const [device, state, atMs] = [countOf(json[0]), countOf(json[1]), timeOf(json[2])];
  const isKnown = state !== null || json[1] === null;
  return device === null || !isKnown || atMs === null ? null : { device, state, atMs };
}

function timeOf(json: Json | undefined): number | null {
  return typeof json === 'number' && Number.isFinite(json) && json >= 0 ? json : null;
}

function countOf(json: Json | undefined): number | null {
  return typeof json === 'number' && Number.isSafeInteger(json) && json >= 0 ? json : null;
}

function textOf(json: Json | undefined): string | null {
  return typeof json === 'string' && json.length <= MAX_TEXT ? json : null;
}
