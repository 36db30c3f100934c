import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { MigrationControl } from '../../engine/index.ts';
import { LineSocket } from '../access/line-socket.ts';
import { toJson } from '../output/terminal.ts';
import { obey, readRequest } from './operator-request.ts';

/** What the socket of a migration is called, beside its journal. */
export const OPERATOR_SUFFIX = '.operator';

/**
 * Lets an operator of the same user look at a migration, and have a hand on it, over a UNIX socket beside its journal: a
 * line of JSON each way. Returns what ends that. A migration does not fail because nobody can look at it.
 */
export function listenForOperators(directory: string, group: string, control: MigrationControl): () => void {
  const path = join(directory, `${group}${OPERATOR_SUFFIX}`);
  const socket = new LineSocket(path, (line) => toJson(answerTo(line, control)));
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch {
    // A directory that can't be made is told of by the journal.
  }
  socket.listen().catch(() => {});
  return () => socket.close();
}

function answerTo(line: string, control: MigrationControl): object {
  const request = readRequest(line);
  return request === null
    ? { error: 'that is nothing that can be asked' }
    : { status: obey(control, request) };
}
