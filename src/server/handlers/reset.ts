import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { acknowledge, answerWhenDone } from './handler.ts';

/** DEVICE_RESET. A payload is ignored, as libvfio-user does. A VMM's waits for the end of a hold. */
export function handleReset(served: ServedConnection, message: IncomingMessage): boolean {
  const { server } = served;
  if (withheld(served)) {
    acknowledge(served, message);
    return true;
  }
  if (!mayReset(served)) return false;
  if (served.role === 'control') server.migration.requireMay('reset', served);
  answerWhenDone(served, message, server.reset(served), (to) => acknowledge(served, to));
  return true;
}

/** Whether a reset is not carried out because the state is kept for a VMM that has come back; it is told nothing. */
export function withheld({ role, server }: ServedConnection): boolean {
  if (role !== 'main' || !server.reconnection.withholding) return false;
  server.reconnection.noteReset();
  return true;
}

/** Whether a reset may go on now (true) or waits for the end of a hold (false). @throws ServerError EBUSY */
export function mayReset({ role, server }: ServedConnection): boolean {
  if (role !== 'main' || !server.hold.active) return true;
  if (!server.hold.expired) return false;
  throw new ServerError('ERR_BUSY', 'the device is being moved');
}
