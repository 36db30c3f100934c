import { parseJsonLog } from './json-log.ts';
import { LogLimits, logError, type StateLog } from './log.ts';
import type { NumberMeaning } from './log-state.ts';
import { isTraceLine, parseQemuTrace } from './qemu-trace.ts';
import { parseQmpLog } from './qmp-log.ts';
import { parseTextLog } from './text-log.ts';

/**
 * Understands a log of migration states: words, JSON, a trace of QEMU, or a QMP log. `numbers` says what plain numbers
 * mean in words and JSON. The log may come from anywhere. Throws StateError (ERR_STATE_LOG) with the line.
 */
export function parseStateLog(text: string, numbers: NumberMeaning = null): StateLog {
  if (text.length > LogLimits.TEXT)
    throw logError(null, `the log is longer than ${LogLimits.TEXT} characters`);
  if (looksBinary(text)) throw logError(null, 'this is no text');
  for (const line of linesOf(text)) if (isTraceLine(line)) return parseQemuTrace(linesOf(text));
  if (/"(?:VFIO_MIGRATION|QMP)"/.test(text)) return parseQmpLog(linesOf(text));
  const first = /\S/.exec(text)?.[0];
  if (first === '[' || first === '{') return parseJsonLog(jsonOf(text), numbers);
  return parseTextLog(linesOf(text), numbers);
}

function jsonOf(text: string): unknown {
  if (text.length > LogLimits.JSON) throw logError(null, `JSON is longer than ${LogLimits.JSON} characters`);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw logError(
      null,
      `the JSON is not complete: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

function looksBinary(text: string): boolean {
  return text.slice(0, 4096).includes('\0');
}

function* linesOf(text: string): Generator<string> {
  let from = 0;
  while (from < text.length) {
    const end = text.indexOf('\n', from);
    yield text.slice(from, end === -1 ? text.length : end);
    from = end === -1 ? text.length : end + 1;
  }
}
