import { type LogEvent, LogLimits, logError, type Place, type StateLog } from './log.ts';
import { type LogState, type NumberMeaning, parseLogState } from './log-state.ts';

/** A word of a text log: what stands between white space, commas, semicolons and arrows. */
const WORD = /[^\s,;=>\u2192-](?:[^\s,;=>\u2192]*[^\s,;=>\u2192-])?/gu;

/**
 * A log of words, on one line or several: the first is the state in which the device is, each other one a change that
 * was asked for and happened. `reset` is a reset. `STOP!` is a change to STOP that failed, `STOP!ERROR` one that
 * failed and left the device in ERROR. `#` begins a comment. Throws StateError (ERR_STATE_LOG).
 */
export function parseTextLog(lines: Iterable<string>, numbers: NumberMeaning): StateLog {
  const events: LogEvent[] = [];
  let start: LogState | null = null;
  let usesBits = false;
  let number = 0;
  for (const text of lines) {
    number++;
    for (const { word, at } of wordsOf(text, number)) {
      const event = parseWord(word, at, numbers);
      if (events.length >= LogLimits.EVENTS) throw logError(at, `more than ${LogLimits.EVENTS} changes`);
      if (event.kind !== 'reset' && event.to.bits !== null) usesBits = true;
      if (start === null && events.length === 0 && event.kind === 'change') start = event.to;
      else events.push(event);
    }
  }
  if (start === null && events.length === 0) throw logError(null, 'the log is empty');
  const side = usesBits ? 'v1' : numbers;
  return { format: 'text', sequences: [{ device: null, interface: side, flags: null, start, events }] };
}

/** The words of a line, one at a time: a line may be as long as the log. */
function* wordsOf(line: string, number: number): Generator<{ word: string; at: Place }> {
  const comment = line.indexOf('#');
  const text = comment === -1 ? line : line.slice(0, comment);
  let count = 0;
  for (const { 0: word, index } of text.matchAll(WORD)) {
    count++;
    const isOnly = count === 1 && text.slice(index + word.length).search(WORD) === -1;
    yield { word, at: isOnly ? `line ${number}` : `word ${count} of line ${number}` };
  }
}

/** One word of a text log, or one entry of a JSON log that is a text. */
export function parseWord(word: string, at: Place, numbers: NumberMeaning): LogEvent {
  if (word.length > LogLimits.WORD) throw logError(at, `a word of ${word.length} characters is no state`);
  if (word.toLowerCase() === 'reset') return { kind: 'reset', at };
  const [wanted = '', found, ...more] = word.split('!');
  const to = requireState(wanted, at, numbers);
  if (found === undefined) return { kind: 'change', to, at };
  if (more.length > 0) throw logError(at, `'${word}' has more than one '!'`);
  return { kind: 'failure', to, now: found === '' ? null : requireState(found, at, numbers), at };
}

function requireState(word: string, at: Place, numbers: NumberMeaning): LogState {
  const state = parseLogState(word, numbers);
  if (state === 'ambiguous') {
    throw logError(at, `'${word}' may be a state of v1 or of v2: say whose numbers these are`);
  }
  if (state === null) {
    throw logError(at, `'${word}' is no migration state: names such as PRE_COPY or bits such as 011 are`);
  }
  return state;
}
