import { closeSync, openSync, readSync } from 'node:fs';
import { READ_PIECE, RecordingReader, type TraceEvent } from '../../trace/index.ts';
import { printError } from '../output/terminal.ts';

/**
 * The events of a recording, one after the other. What its recorder could not finish is told on standard error.
 * @throws TraceError ERR_TRACE_FILE, or the system's error
 */
export function* readRecording(path: string): Generator<TraceEvent> {
  const fd = openSync(path, 'r');
  try {
    const reader = new RecordingReader();
    const piece = new Uint8Array(READ_PIECE);
    for (let count = readSync(fd, piece); count > 0; count = readSync(fd, piece)) {
      yield* reader.push(piece.subarray(0, count));
    }
    const left = reader.end();
    if (left > 0)
      printError(`ferry: the last ${left} bytes are no whole record: its recorder was interrupted`);
    if (reader.skipped > 0) printError(`ferry: ${reader.skipped} packets of other kinds were passed over`);
  } finally {
    closeSync(fd);
  }
}
