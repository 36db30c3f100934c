import { mkdirSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { MigrationControl } from '../engine/index.ts';
import { obey, readRequest } from './operator-request.ts';
import { toJson } from './terminal.ts';

/** What the socket of a migration is called, beside its journal. */
export const OPERATOR_SUFFIX = '.operator';

/** No request is longer, in bytes. */
const MAX_LINE = 1024;
/** Whoever says nothing for so long is not waited for, in milliseconds. */
const IDLE_MS = 10_000;
const MAX_OPERATORS = 8;

/**
 * Lets an operator of the same user look at a migration, and have a hand on it, over a UNIX socket beside its journal: a
 * line of JSON each way. Returns what ends that. A migration does not fail because nobody can look at it.
 */
export function listenForOperators(directory: string, group: string, control: MigrationControl): () => void {
  const path = join(directory, `${group}${OPERATOR_SUFFIX}`);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    attend(socket, control);
  });
  server.maxConnections = MAX_OPERATORS;
  server.on('error', () => {});
  // The socket is there with these rights from its first moment on.
  const mask = process.umask(0o177);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    server.listen(path);
  } catch {
    // A directory that can't be made is told of by the journal.
  } finally {
    process.umask(mask);
  }
  return () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(path, { force: true });
  };
}

function attend(socket: Socket, control: MigrationControl): void {
  let text = '';
  socket.setEncoding('utf8').setTimeout(IDLE_MS, () => socket.destroy());
  socket.on('error', () => {});
  socket.on('data', (piece: string) => {
    const [line = '', ...rest] = (text + piece).split('\n');
    text = rest.length === 0 ? line : '';
    if (line.length > MAX_LINE || rest.length > 1) socket.destroy();
    else if (rest.length === 1) socket.write(`${toJson(answerTo(line, control))}\n`);
  });
}

function answerTo(line: string, control: MigrationControl): object {
  const request = readRequest(line);
  return request === null
    ? { error: 'that is nothing that can be asked' }
    : { status: obey(control, request) };
}
