import { type LogEvent, LogLimits, type LogSequence, logError, type Place, type StateLog } from './log.ts';
import type { LogState, NumberMeaning } from './log-state.ts';
import { parseWord } from './text-log.ts';

/**
 * A log as JSON: an array of states (names, bits as text, numbers) and `"reset"`, or an object
 * `{"states": [...], "device"?, "flags"?, "numbers"?: "v1" | "v2"}`, or an array of such objects. A failed change is
 * the text `"STOP!ERROR"` or `{"to": "STOP", "failed": true, "now"?: "ERROR"}`. Throws StateError (ERR_STATE_LOG).
 */
export function parseJsonLog(value: unknown, numbers: NumberMeaning): StateLog {
  const parts = Array.isArray(value) && value.length > 0 && value.every(hasStates) ? value : [value];
  if (parts.length > LogLimits.DEVICES) throw logError(null, `more than ${LogLimits.DEVICES} devices`);
  let total = 0;
  const sequences = parts.map((part: unknown) => {
    const sequence = parsePart(part, numbers);
    total += sequence.events.length;
    if (total > LogLimits.EVENTS) throw logError(null, `more than ${LogLimits.EVENTS} changes`);
    return sequence;
  });
  return { format: 'JSON', sequences };
}

function parsePart(part: unknown, given: NumberMeaning): LogSequence {
  if (Array.isArray(part)) return sequenceOf(part, given, null, null);
  if (!hasStates(part))
    throw logError(null, 'the JSON is neither an array of states nor an object with "states"');
  const { device = null, flags = null, numbers = given } = part;
  if (device !== null && (typeof device !== 'string' || device.length > LogLimits.WORD)) {
    throw logError(null, `"device" is no text of at most ${LogLimits.WORD} characters`);
  }
  if (flags !== null && (typeof flags !== 'number' || !Number.isInteger(flags) || flags < 0 || flags > 7)) {
    throw logError(null, '"flags" is no number of migration flags from 0 to 7');
  }
  if (numbers !== null && numbers !== 'v1' && numbers !== 'v2')
    throw logError(null, '"numbers" is "v1" or "v2"');
  return sequenceOf(part.states, numbers, device, flags);
}

interface Part {
  readonly states: readonly unknown[];
  readonly device?: unknown;
  readonly flags?: unknown;
  readonly numbers?: unknown;
}

function hasStates(value: unknown): value is Part {
  return typeof value === 'object' && value !== null && 'states' in value && Array.isArray(value.states);
}

function sequenceOf(
  entries: readonly unknown[],
  numbers: NumberMeaning,
  device: string | null,
  flags: number | null,
): LogSequence {
  if (entries.length === 0) throw logError(null, 'the log is empty');
  if (entries.length > LogLimits.EVENTS) throw logError(null, `more than ${LogLimits.EVENTS} changes`);
  const events = entries.map((entry, index) => parseEntry(entry, `entry ${index + 1}`, numbers));
  const usesBits = events.some((event) => event.kind !== 'reset' && event.to.bits !== null);
  const side = usesBits ? 'v1' : numbers;
  const [first, ...rest] = events;
  if (first?.kind !== 'change') return { device, interface: side, flags, start: null, events };
  return { device, interface: side, flags, start: first.to, events: rest };
}

function parseEntry(entry: unknown, at: Place, numbers: NumberMeaning): LogEvent {
  if (typeof entry === 'string') return parseWord(entry, at, numbers);
  if (typeof entry === 'number') return parseWord(wordOf(entry, at), at, numbers);
  if (typeof entry !== 'object' || entry === null || !('to' in entry)) {
    throw logError(at, 'an entry is a state, "reset", or an object with "to"');
  }
  const to = stateOf(entry.to, at, numbers);
  const failed = 'failed' in entry && entry.failed === true;
  if (!failed) return { kind: 'change', to, at };
  const now = 'now' in entry && entry.now !== null ? stateOf(entry.now, at, numbers) : null;
  return { kind: 'failure', to, now, at };
}

function stateOf(value: unknown, at: Place, numbers: NumberMeaning): LogState {
  const word = typeof value === 'number' ? wordOf(value, at) : value;
  const event = typeof word === 'string' ? parseWord(word, at, numbers) : null;
  if (event?.kind !== 'change') throw logError(at, 'a state is a name, bits as text, or a number');
  return event.to;
}

/** A number as the word that can't be taken for three bits. */
function wordOf(value: number, at: Place): string {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff)
    throw logError(at, `${value} is no state`);
  return `0x${value.toString(16)}`;
}
