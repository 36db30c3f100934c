import { chown, mkdtemp, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { VmError } from './vm-error.ts';

/** A UNIX socket's path has at most 107 bytes (unix(7)); the names that are made in the folder have up to this many. */
const MAX_SOCKET_PATH = 107;
const LONGEST_NAME = '/outgoing.sock'.length;

/** A directory that only its owner can enter. */
export interface PrivateFolder {
  readonly path: string;
  remove(): Promise<void>;
}

/**
 * Makes a directory through which this process and a VMM exchange what is nobody else's business: beside the monitor's
 * socket, where the VMM may write, unless told otherwise, and owned by whoever owns that. Rejects with VmError.
 */
export async function makeFolder(monitorPath: string, where: string | null): Promise<PrivateFolder> {
  const parent = where ?? dirname(resolve(monitorPath));
  try {
    const path = await mkdtemp(join(parent, 'ferry-vm-'));
    if (path.length + LONGEST_NAME > MAX_SOCKET_PATH) {
      await rm(path, { recursive: true });
      throw new VmError(
        'ERR_VM_CONNECT',
        `${path} is too long for a socket: name a shorter directory (--scratch)`,
      );
    }
    const { uid, gid } = await stat(monitorPath);
    if (process.getuid?.() === 0 && uid !== 0) await chown(path, uid, gid);
    return { path, remove: () => rm(path, { recursive: true, force: true }) };
  } catch (error) {
    if (error instanceof VmError) throw error;
    const text = `a directory for QEMU and this process can't be made in ${parent}: name another one (--scratch)`;
    throw new VmError('ERR_VM_CONNECT', text, { parent }, error);
  }
}

/** Group and others. */
const OTHERS_ENTER = 0o011;
const OTHERS_WRITE = 0o022;

/**
 * Who else than its owner could connect to a socket that rules a guest: `everybody` in reach can, `the directory` lets
 * others in, though not to the socket as it is now, `nobody`. Rejects with what stat(2) does.
 */
export async function whoElse(path: string): Promise<'everybody' | 'the directory' | 'nobody'> {
  const folder = await stat(dirname(resolve(path)));
  if ((folder.mode & OTHERS_ENTER) === 0) return 'nobody';
  const socket = await stat(path);
  return (socket.mode & OTHERS_WRITE) === 0 ? 'the directory' : 'everybody';
}
