import { resolve } from 'node:path';
import { CONTROL_SUFFIX } from '../../protocol/index.ts';
import { MAX_SOCKET_PATH } from '../../transport/index.ts';
import { mayUse } from '../file-facts.ts';
import type { SocketFacts } from '../socket-facts.ts';
import { converse, type Talk } from './conversation.ts';
import { fileFacts, type Host, missingFolder } from './host.ts';
import { ownerOfSocket, processFacts } from './processes.ts';
import { type UnixSocket, unixSockets } from './unix-sockets.ts';

/** How a server is looked at. */
export interface SocketProbe {
  /** Whether it may be connected to at all. */
  readonly connect: boolean;
  /** How long to wait for each answer, in milliseconds. */
  readonly timeoutMs: number;
}

type Outside = Omit<SocketFacts, 'conversation'>;

/** Everything about the server at `path`, from outside first, then by talking to it where that disturbs nobody. */
export async function gatherSocket(host: Host, path: string, probe: SocketProbe): Promise<SocketFacts> {
  const outside = lookFromOutside(host, path);
  const silent = reasonNotToConnect(outside, probe);
  if (silent !== null) return { ...outside, conversation: { kind: 'none', why: silent } };
  const { control, file } = outside;
  const door = (control ?? file).path;
  const talk = await converse(host, door, control === null, probe.timeoutMs);
  return {
    ...outside,
    server: outside.server ?? serverOf(host, talk),
    // A connection that was given up stays in the queue, in its order: if any is there, ours is.
    waiting: countOf(unixSockets(host), door, 'waits'),
    conversation: talk.conversation,
  };
}

function lookFromOutside(host: Host, path: string): Outside {
  const file = fileFacts(path);
  const isControl = path.endsWith(CONTROL_SUFFIX);
  const beside = isControl ? file : fileFacts(path + CONTROL_SUFFIX);
  const control = beside.kind === 'socket' ? beside : null;
  const main = isControl ? path.slice(0, -CONTROL_SUFFIX.length) : path;
  const sockets = unixSockets(host);
  const listener = named(sockets, path).find(({ role }) => role === 'listens');
  const pid = listener === undefined ? null : ownerOfSocket(host, listener.inode);
  return {
    path,
    file,
    missingFolder: file.kind === 'missing' ? missingFolder(resolve(path)) : null,
    caller: host.caller,
    isControl,
    control,
    listening: sockets === null ? null : listener !== undefined,
    clients: countOf(sockets, main, 'accepted'),
    waiting: countOf(sockets, (control ?? file).path, 'waits'),
    server: pid === null ? null : processFacts(host, pid),
  };
}

/** The sockets that were bound to a path; one that was bound to a relative one is not found. */
function named(sockets: readonly UnixSocket[] | null, path: string): UnixSocket[] {
  const full = resolve(path);
  return (sockets ?? []).filter((socket) => socket.path === full);
}

/** Null where nobody is seen to listen: then connections are not seen either. */
function countOf(
  sockets: readonly UnixSocket[] | null,
  path: string,
  wanted: UnixSocket['role'],
): number | null {
  const all = named(sockets, path);
  if (!all.some(({ role }) => role === 'listens')) return null;
  return all.filter(({ role }) => role === wanted).length;
}

/** Why the server is not talked to; null when it may be. */
function reasonNotToConnect({ file, control, caller, clients }: Outside, probe: SocketProbe): string | null {
  const door = control ?? file;
  if (file.kind !== 'socket') return 'there is no socket';
  if (!mayUse(door, caller)) return 'this account may not use the socket';
  if (Buffer.byteLength(door.path) > MAX_SOCKET_PATH) return 'the path of the socket is too long';
  if (!probe.connect) return 'it was asked not to connect (--no-connect)';
  // Some servers take the next client only when the present one has gone, and reset their device when that one leaves.
  if (control === null && (clients ?? 0) > 0)
    return 'a client has its only socket, and must not be disturbed';
  return null;
}

function serverOf(host: Host, { pid }: Talk): Outside['server'] {
  return pid === null ? null : processFacts(host, pid);
}
