import { connect, type Socket } from 'node:net';
import { VmError } from './vm-error.ts';

/** Connects to a UNIX socket of a VMM; `what` is how errors call it. Rejects with VmError. */
export function connectTo(path: string, what: string, timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const fail = (why: string, cause?: unknown): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new VmError('ERR_VM_CONNECT', `${what} at ${path} can't be reached: ${why}`, { path }, cause));
    };
    const timer = setTimeout(() => fail(`no connection in ${timeoutMs} ms`), timeoutMs);
    const failed = (error: NodeJS.ErrnoException): void => fail(error.code ?? error.message, error);
    socket.once('error', failed);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', failed);
      resolve(socket);
    });
  });
}
