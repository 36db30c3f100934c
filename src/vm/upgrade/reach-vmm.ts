import { QmpClient } from '../qmp/qmp-client.ts';
import { connectTo } from '../socket.ts';
import { VmError } from '../vm-error.ts';

/** What connect(2) says of a socket at which nobody listens any more, or not yet. */
const NOBODY: readonly unknown[] = ['ECONNREFUSED', 'ENOENT'];

/** The monitor of a QEMU; null: that QEMU has ended. Rejects with VmError when it does not answer. */
export async function reachMonitor(path: string, timeoutMs: number): Promise<QmpClient | null> {
  try {
    return await QmpClient.connect(path, { timeoutMs });
  } catch (error) {
    if (isNobody(error)) return null;
    throw error;
  }
}

/** Whether somebody listens there. A QEMU that was killed leaves its sockets behind. */
export async function listens(path: string, timeoutMs: number): Promise<boolean> {
  try {
    (await connectTo(path, 'the monitor', timeoutMs)).destroy();
    return true;
  } catch (error) {
    if (isNobody(error)) return false;
    throw error;
  }
}

function isNobody(error: unknown): boolean {
  if (!(error instanceof VmError) || error.code !== 'ERR_VM_CONNECT') return false;
  const { cause } = error;
  return cause instanceof Error && 'code' in cause && NOBODY.includes(cause.code);
}
