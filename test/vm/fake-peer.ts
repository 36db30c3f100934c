import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';

/** What listens on a UNIX socket and says what a test wants, byte by byte. */
export interface FakePeer {
  readonly path: string;
  /** What has been said to it. */
  heard(): string;
  /** Connections so far. */
  readonly connections: () => number;
}

const peers: { server: Server; folder: string; sockets: Set<Socket> }[] = [];
afterEach(() => {
  for (const { server, folder, sockets } of peers.splice(0)) {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Listens; `greet` is called for each connection, `answer` for each piece that arrives. */
export function fakePeer(
  greet: (socket: Socket) => void,
  answer: (socket: Socket, text: string) => void = () => {},
): Promise<FakePeer> {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-peer-'));
  const path = join(folder, 'peer');
  const sockets = new Set<Socket>();
  let heard = '';
  let connections = 0;
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('error', () => {});
    socket.setEncoding('latin1').on('data', (text: string) => {
      heard += text;
      answer(socket, text);
    });
    greet(socket);
  });
  peers.push({ server, folder, sockets });
  return new Promise((resolve) => {
    server.listen(path, () => resolve({ path, heard: () => heard, connections: () => connections }));
  });
}
